"""A prepared dataset and the runs trained on it under the doctor's eyes."""
