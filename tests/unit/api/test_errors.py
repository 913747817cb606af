import pytest

from api import errors


@pytest.mark.parametrize("kind", errors.ALL)
def test_an_error_survives_the_way_over_the_wire(kind):
    error = errors.from_status(kind("why", {"name": "n"}).to_status())
    assert (type(error), error.message, error.details, error.to_status()["code"]) == (
        kind,
        "why",
        {"name": "n"},
        kind.code,
    )


def test_every_error_has_a_grpc_code():
    assert set(errors.GRPC_CODES) == {*errors.ALL, errors.ApiError}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ({"code": 404}, errors.NotFound), ({"code": 409}, errors.Conflict), ({"code": 418}, errors.ApiError), ({}, errors.ApiError),
        ({"reason": "AlreadyExists", "code": 409}, errors.AlreadyExists),
    ],
)  # fmt: skip
def test_a_status_without_a_reason_is_known_by_its_code(status, kind):
    assert type(errors.from_status(status)) is kind


def test_empty_details_are_written_where_they_were_given():
    assert errors.NotFound("why", {}).to_status()["details"] == {}
    assert "details" not in errors.NotFound("why").to_status()
    assert (
        errors.from_status(errors.no_such_resource().to_status()).to_status() == errors.no_such_resource().to_status()
    )


def test_the_usual_messages():
    assert errors.not_found("pods", "p").message == 'pods "p" not found'
    assert errors.not_found("deployments.apps", "d").details == {"name": "d", "group": "apps", "kind": "deployments"}
    assert errors.already_exists("pods", "p").message == 'pods "p" already exists'
    assert errors.forbidden("pods", "p", "no").message == 'pods "p" is forbidden: no'
    assert errors.conflict("pods", "p", errors.STALE).message == (
        'Operation cannot be fulfilled on pods "p": the object has been modified; please apply your changes to the latest '
        "version and try again"
    )
