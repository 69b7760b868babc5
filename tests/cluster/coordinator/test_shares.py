"""Rules that outvote a few liars need that no identity holds most of a round."""

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.policy import Policy, most_shards
from mlpeft.config import ClusterSection, RunConfig
from mlpeft.config.aggregation import most_share
from mlpeft.work import Displacement
from tests.cluster.builders import Machine, granted, of_type, policy_with


def machine(**policy):
    return Machine(policy_with(most_share=0.499, max_attempts=3, **policy))


def test_an_identity_may_hold_less_than_half_and_more_only_where_others_are_missing():
    assert [most_shards(8, identities, 0.499) for identities in (1, 2, 3, 9)] == [
        8,
        4,
        3,
        3,
    ]
    assert most_shards(8, 9, 1.0) == 8


def test_the_share_is_that_which_the_rule_outvotes():
    def share(**meta):
        return most_share(RunConfig.from_dict({"meta_learning": meta}).meta_learning)

    assert share() == 1
    median = {"aggregation": "coordinate_median", "meta_batch_size": 8}
    assert most_shards(8, 9, share(**median)) == 3
    trimmed = median | {"aggregation": "trimmed_mean", "trim_fraction": 0.25}
    assert most_shards(8, 9, share(**trimmed)) == 2


def test_the_fastest_gets_its_share_of_a_round_and_waits_then():
    """Six shards of three identities: two each, however fast eve is."""
    made = machine()
    made.join("ada")
    made.join("eve")
    made.join("mallory", identity="eve-machine")
    made.join("cyd")
    commands = made.open(shards=6)
    assert [worker for worker, _ in granted(commands)] == [
        "ada-id",
        "eve-id",
        "mallory-id",
        "cyd-id",
    ]
    assert granted(made.update("eve", 1)) == []
    assert granted(made.update("mallory", 2)) == []
    assert [worker for worker, _ in granted(made.update("ada", 0))] == ["ada-id"]
    assert [worker for worker, _ in granted(made.update("cyd", 3))] == ["cyd-id"]


def test_who_remains_takes_over_what_others_leave():
    made = machine()
    for name in ("ada", "bob", "cyd"):
        made.join(name)
    made.open(shards=3)
    made.update("ada", 0)
    made.update("bob", 1)
    lost = made(cm.WorkerLeft(p.WorkerId("cyd-id"), "gone"))
    ((worker, lease),) = granted(lost)
    assert lease.shard == 2
    name = worker.removesuffix("-id")
    assert of_type(made.update(name, 2, lease.attempt), cm.CompleteRound)


def test_a_shard_that_failed_goes_to_somebody_who_holds_their_share():
    made = machine()
    for name in ("ada", "bob", "cyd"):
        made.join(name)
    made.open(shards=3)
    made.update("ada", 0)
    made.update("bob", 1)
    back = p.LeaseReturn(p.LeaseKey("s", 1, 2, 1), failed=True, reason="out of memory")
    ((worker, lease),) = granted(made(cm.MessageReceived(p.WorkerId("cyd-id"), back)))
    assert (worker, lease.shard) == ("ada-id", 2)


def test_a_bound_of_the_users_own_holds_under_the_mean():
    policy = Policy.from_config(
        ClusterSection(most_share=0.5),
        displacement=Displacement.FROM_THETA,
        ordered_sum=True,
    )
    assert policy.most_share == 0.5
    made = Machine(policy)
    for name in ("ada", "bob", "eve"):
        made.join(name)
    made.open(shards=4)
    assert [worker for worker, _ in granted(made.update("eve", 2))] == ["eve-id"]
    assert granted(made.update("eve", 3)) == []


def test_the_rules_own_bound_holds_beside_it():
    bound = Policy.from_config(
        ClusterSection(most_share=0.9),
        displacement=Displacement.FROM_THETA,
        ordered_sum=False,
        most_share=0.4,
    )
    assert bound.most_share == 0.4
