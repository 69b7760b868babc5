"""What travels between the coordinator and its workers, and how.

`codec` and `enrolment_codec` alone see the generated protobuf classes; everything else
speaks the frozen dataclasses of `wire` and `mlpeft.cluster.messages`.
"""
