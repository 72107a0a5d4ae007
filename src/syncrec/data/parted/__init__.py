"""`prepare` on several workers: the same functions, each on some files or on some users.

1. `reading`: a file is read by one worker; the ids of all files are merged here, in the order of the files.
2. `dealing`: the users in sorted order are cut into parts of about as many events. The events of a file are dealt out
   to the parts, and each part is sorted.
3. `filtering`: each part filters its users; what is exchanged in a round of the k-core is counts of items.
4. `assembling`: parts count and split their users; columns and counts are joined here, in the order of the parts.

A part is a range of users, so joining is putting one behind another, and all is as one process would have made it.
"""
