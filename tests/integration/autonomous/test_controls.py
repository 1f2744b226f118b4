from __future__ import annotations

from typing import Any

import pytest

from nova.autonomous.controls import reset_policy, set_policy, switch
from nova.autonomous.explain import status
from nova.config import load_settings
from nova.errors import ConfigInvalid, UsageProblem


def test_the_switch_is_audited(office: Any) -> None:
    switch(office, True, "dana")
    assert status(office)["enabled"] is True
    row = office.ledger.audit.log()[-1]
    assert (row.actor, row.action) == ("dana", "autonomous_enabled")


def test_the_policy_is_set_all_or_none(office: Any) -> None:
    assert set_policy(office, ["min_roi=120", "window=14d"], "dana").min_roi == 120
    with pytest.raises(UsageProblem, match="scale_roi 100"):
        set_policy(office, ["warmup=2h", "scale_roi=100"], "dana")
    shown = status(office)
    assert (shown["policy"]["warmup"], shown["policy_version"]) == (3600, 1)


def test_settings_that_no_longer_fit_the_policy_are_an_invalid_configuration(office: Any) -> None:
    set_policy(office, ["min_roi=250"], "dana")
    home = str(office.settings.nova_home)
    office.settings = load_settings({"NOVA_HOME": home, "SCALE_ROI_THRESHOLD": "200"})
    with pytest.raises(ConfigInvalid, match="min_roi 250 and scale_roi 200"):
        office.cycle()
    assert set_policy(office, ["min_roi=150"], "dana").scale_roi == 200


def test_a_reset_goes_back_to_the_settings(office: Any) -> None:
    set_policy(office, ["min_roi=120"], "dana")
    assert reset_policy(office, "dana").min_roi == 150
