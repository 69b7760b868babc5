"""What travels between the coordinator and its workers, and how.

`codec` is the only module that sees the generated protobuf classes; everything else
speaks the frozen dataclasses of `wire` and `mlpeft.cluster.messages`.
"""
