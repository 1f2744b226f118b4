from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field, SecretStr

from nova.errors import UsageProblem
from workers.agents.configuration import checked, fields_of, typed
from workers.agents.shell import Shell
from workers.base_worker import BaseWorker


class Settings(BaseModel):
    times: int
    price: Decimal = Decimal("1.50")
    names: list[str] = Field(default_factory=list, description="Who.")
    limits: dict[str, int] = {}
    on: bool = False
    token: SecretStr | None = None


class Mine(BaseWorker):
    Config: ClassVar[type[BaseModel]] = Settings


class Free(BaseWorker):
    pass


def test_texts_are_converted_by_the_class() -> None:
    config = checked("mine", Mine, {"times": "3", "price": "0.10", "on": "true"})
    assert (config.times, config.price, config.on) == (3, Decimal("0.10"), True)


def test_a_text_that_does_not_fit_is_read_as_json() -> None:
    config = checked("mine", Mine, {"times": "3", "names": '["a", "b"]', "limits": '{"x": 1}', "token": "null"})
    assert config.names == ["a", "b"] and config.limits == {"x": 1}


def test_every_wrong_setting_is_named_and_no_value_told() -> None:
    with pytest.raises(UsageProblem) as refused:
        checked("mine", Mine, {"price": "hunter2", "limits": {"x": "hunter2"}})
    message = refused.value.message
    assert "times: is missing" in message and "price:" in message and "limits.x:" in message
    assert "hunter2" not in message


def test_an_unknown_setting_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageProblem, match="no setting comand") as refused:
        checked("shell", Shell, {"comand": "true"})
    assert refused.value.hint == "did you mean command? it takes command, cwd, env"
    assert checked("mine", Mine, {"times": 1, "gone": 2}, strict=False).times == 1


def test_a_class_without_config_takes_anything() -> None:
    assert checked("free", Free, {"a": "1"}) == {"a": "1"}
    assert fields_of(Free) == ()


@pytest.mark.parametrize(
    ("given", "declared"),
    [
        ({"times": "3", "price": "0.10"}, {"times": 3, "price": "0.10"}),
        ({"times": 3}, {"times": 3}),
        ({"times": "3", "token": "abc"}, {"times": "3", "token": "abc"}),
    ],
)
def test_what_is_declared_is_typed_and_never_loses_a_secret(given: dict[str, Any], declared: dict[str, Any]) -> None:
    assert typed(Mine, given, checked("mine", Mine, given)) == declared


def test_the_settings_are_told_with_type_default_and_meaning() -> None:
    told = {field.name: field for field in fields_of(Mine)}
    assert told["times"].required and told["times"].type == "int" and told["times"].default is None
    assert (told["names"].type, told["names"].default, told["names"].help) == ("list[str]", [], "Who.")
    assert told["price"].default == "1.50"
