"""What goes over the wire, as JSON; also what `syncrec.client` gives."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from syncrec.answers import Answer

__all__ = [
    "BatchAnswer",
    "BatchRequest",
    "EventMessage",
    "EventsAnswer",
    "HistoryAnswer",
    "HistoryEntry",
    "PastItem",
    "Problem",
    "Range",
    "RecommendationsAnswer",
    "RecommendationsRequest",
    "RecommendedItem",
    "ReloadAnswer",
    "ReloadRequest",
    "ServedRun",
]

_TEXT = r"^[^\x00-\x1f\x7f]*$(?!\n)"  # `$` alone lets a last line break through
Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=_TEXT)]
Kind = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}$(?!\n)", description="click and purchase count as history")]
Time = Annotated[int, Meta(ge=0, le=4_102_444_800, description="unix seconds")]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Share = Annotated[float, Meta(gt=0, le=1)]


class Request(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A body that a client sends: unknown fields are refused."""


class PastItem(Request):
    """An event of a history that is sent along."""

    domain: Name
    item: Name
    timestamp: Time | None = None


class Range(Request):
    """Numbers from `min` to `max`, both included."""

    min: float | None = None
    max: float | None = None


class RecommendationsRequest(Request):
    """The best items of a domain, for a user or after a history (oldest event first)."""

    domain: Name
    k: Annotated[int, Meta(ge=1, le=100_000)] = 10
    user: Name | None = None
    history: Annotated[list[PastItem], Meta(description="takes the place of the user's own; [] is none")] | None = None
    answer: Answer = "fused"
    exclude_seen: bool = False
    allow: Annotated[list[Name], Meta(description="only these items")] | None = None
    deny: Annotated[list[Name], Meta(description="none of these items")] = []
    filters: Annotated[
        dict[str, list[str] | Range], Meta(description="attribute of the item table: values, or a range")
    ] = {}
    run: Annotated[Name, Meta(description="a certain run, whatever the user's arm")] | None = None


class RecommendedItem(Struct, frozen=True):
    """An item; a higher score is better, and scores of one answer compare."""

    item: str
    score: float


class RecommendationsAnswer(Struct, frozen=True, kw_only=True):
    """Items, best first, and what they come from; `arm` is null if the run was asked for by name."""

    request_id: str
    domain: str
    answer: str
    items: list[RecommendedItem]
    run: str
    model_version: str
    arm: str | None
    known_user: bool
    unknown_items: int


class BatchRequest(Request):
    """Several questions, answered together."""

    requests: Annotated[list[RecommendationsRequest], Meta(min_length=1)]


class BatchAnswer(Struct, frozen=True):
    """One answer a question, in their order."""

    answers: list[RecommendationsAnswer]


class EventMessage(Request):
    """What a user did or was shown; sent again with the same `event_id` it stays one event."""

    kind: Kind
    user: Name
    domain: Name
    item: Name
    event_id: Annotated[Name, Meta(description="the service makes one up if there is none")] | None = None
    timestamp: Annotated[Time, Meta(description="unix seconds; now if there is none")] | None = None
    request_id: Name | None = None
    arm: Name | None = None
    position: Annotated[Count, Meta(description="place in the answer, from 1")] | None = None
    propensity: Annotated[Share, Meta(description="probability with which it was shown")] | None = None


class EventsAnswer(Struct, frozen=True):
    """Now durable: how many events were new, how many were there before, and the ids of all in the order sent."""

    stored: int
    duplicates: int
    event_ids: list[str]


class HistoryEntry(Struct, frozen=True):
    """An event of a history and where it is known from; `in_catalogue`: whether the run knows the item."""

    domain: str
    item: str
    timestamp: int
    source: Literal["dataset", "store"]
    in_catalogue: bool


class HistoryAnswer(Struct, frozen=True):
    """The last events of a user, oldest first."""

    user: str
    known: bool
    events: list[HistoryEntry]


class ReloadRequest(Request):
    """Serve the run directory `path` as `run` from now on."""

    run: Name
    path: Annotated[str, Meta(min_length=1, max_length=4096, pattern=_TEXT)]


class ReloadAnswer(Struct, frozen=True):
    """The version that answers now, and the one that did before."""

    run: str
    model_version: str
    previous_version: str


class ServedRun(Struct, frozen=True):
    """A run that is served."""

    run: str
    model_version: str
    model: str
    epoch: int
    age_s: float
    domains: dict[str, int]
    answers: list[str]
    users: int
    fusion_weights: dict[str, float]


class Problem(Struct, frozen=True, omit_defaults=True):
    """Why there is no answer (RFC 9457): `detail` is one line that says what came and what is allowed."""

    title: str
    status: int
    detail: str
    request_id: str | UnsetType = UNSET
