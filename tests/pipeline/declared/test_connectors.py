import pytest

from gateway.core.errors import SluiceError
from gateway.pipeline.declared import connectors


def test_ours_and_those_of_others_are_found() -> None:
    assert {"memory", "files", "sql", "kafka", "rabbitmq", "redis", "toy"} <= set(connectors.names())
    assert connectors.adapter("toy").name == "toy"


def test_those_of_others_have_docs_of_their_own() -> None:
    assert {"memory", "redis"} <= set(connectors.ours())
    assert "toy" not in connectors.ours()


def test_none_is_imported_before_it_is_used() -> None:
    import sys

    connectors.names()
    assert "toyadapter" not in sys.modules


def test_nobody_takes_the_place_of_ours() -> None:
    assert connectors._points()["memory"].value == "adapters.memory"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("kafak", "there is no adapter 'kafak', did you mean 'kafka'?"),
        ("x25", "there is no adapter 'x25', expected one of broken, empty, "),
        (
            "needy",
            "adapter 'needy' needs the package a_driver_that_nobody_has, which is not installed:"
            " pip install 'toyadapter'",
        ),
        ("broken", "adapter 'broken' cannot be loaded: ValueError: no good"),
        ("empty", "adapter 'empty' is emptyadapter, which has no `adapter` of the type Adapter"),
    ],
)
def test_what_cannot_be_used_says_why(name: str, says: str) -> None:
    with pytest.raises(SluiceError) as raised:
        connectors.adapter(name)
    assert raised.value.message.startswith(says)


def test_a_missing_driver_names_the_extra() -> None:
    error = ModuleNotFoundError("No module named 'aiokafka'", name="aiokafka.abc")
    assert connectors.missing("kafka", error) == (
        "adapter 'kafka' needs the package aiokafka, which is not installed: pip install 'sluice[kafka]'"
    )
    assert connectors.missing("sql", ImportError(name="asyncpg")).endswith("pip install 'sluice[postgresql]'")
