"""Join tokens as text."""

import pytest

from mlpeft.transport.security.token import JoinToken, TokenError, new_secret

TOKEN = JoinToken("head.local:50052", "ab" * 32, "5ec2e7")


def test_a_token_survives_being_text():
    assert JoinToken.parse(f" {TOKEN}\n") == TOKEN
    assert " " not in str(TOKEN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        str(TOKEN)[:-9],
        str(TOKEN)[1:],
        str(TOKEN).removeprefix("mlpeft1."),
        "mlpeft1.e30",  # {}
        "mlpeft1.W10",  # []
        "mlpeft1.ü",
    ],
)
def test_half_a_token_is_refused_without_repeating_it(text):
    with pytest.raises(TokenError, match="copy all that") as caught:
        JoinToken.parse(text)
    assert len(text) < 3 or text not in str(caught.value)


def test_the_secret_shows_in_no_log():
    assert TOKEN.secret not in repr(TOKEN)


def test_secrets_are_long_and_never_the_same():
    assert len({new_secret() for _ in range(100)}) == 100
    assert len(bytes.fromhex(new_secret())) == 16
