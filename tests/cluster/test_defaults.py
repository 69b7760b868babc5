"""What a run leaves open has one default, and that is the configuration's."""

from dataclasses import MISSING, fields

from mlpeft.cluster.policy import Policy
from mlpeft.config import ClusterSection
from mlpeft.work import Displacement


def test_a_policy_has_no_default_for_what_a_run_can_configure():
    own = {field.name for field in fields(Policy) if field.default is not MISSING}
    assert own & set(ClusterSection.model_fields) == set()


def test_a_policy_takes_every_number_of_the_section_that_it_has():
    section = ClusterSection(
        lost_after_s=2.5,
        lease_s=11.0,
        least_lease_s=7.0,
        deadline_factor=3.0,
        backup_factor=2.0,
        max_attempts=9,
        quarantine_after=8,
        quarantine_s=13.0,
        min_workers=6,
        norm_factor=17.0,
        audit=0.25,
        most_share=0.5,
        mode="quorum",
        grace_s=4.0,
        max_staleness=3,
    )
    policy = Policy.from_config(
        section, displacement=Displacement.AS_IT_IS, ordered_sum=True
    )
    shared = {field.name for field in fields(Policy)} & set(ClusterSection.model_fields)
    assert len(shared) == 14
    for name in shared:
        assert getattr(policy, name) == getattr(section, name), name
    assert policy.ordered_sum
    assert policy.displacement is Displacement.AS_IT_IS
