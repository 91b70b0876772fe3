"""What each may do."""

import pytest

from notification_service.domain.errors import (
    CannotSendForOthersError,
    ForbiddenError,
    NotYourNotificationError,
)
from notification_service.domain.people import Principal, Role

ANN, ROOT = Principal("ann"), Principal("root", Role.ADMIN)


def test_a_user_acts_for_itself_alone() -> None:
    ANN.require_send_for("ann")
    ANN.require_owner("ann")

    with pytest.raises(CannotSendForOthersError):
        ANN.require_send_for("bob")
    with pytest.raises(NotYourNotificationError):
        ANN.require_owner("bob")
    with pytest.raises(ForbiddenError):
        ANN.require_admin()


def test_an_administrator_acts_for_anyone() -> None:
    ROOT.require_admin()
    ROOT.require_send_for("bob")
    ROOT.require_owner("bob")

    assert ROOT.may_act_for("anyone")


@pytest.mark.parametrize("name", ["Ann", "ann ", "", "an", "ann\x00"])
def test_a_name_that_is_not_the_same_to_the_letter_is_another(name: str) -> None:
    assert not ANN.may_act_for(name)
