from pathlib import Path

import pytest

from gateway.settings import Settings, SettingsError
from gateway.settings.token import admin_token, find_token


def test_the_first_start_makes_one_that_the_next_finds(tmp_path: Path) -> None:
    settings = Settings(state=str(tmp_path))
    assert find_token(settings) == ""
    token = admin_token(settings)
    assert len(token) >= 32
    assert admin_token(settings) == token == find_token(settings)
    assert (tmp_path / "admin-token").stat().st_mode & 0o777 == 0o600
    assert [f.name for f in tmp_path.iterdir()] == ["admin-token"]


def test_the_settings_win_over_the_folder(tmp_path: Path) -> None:
    admin_token(Settings(state=str(tmp_path)))
    (tmp_path / "secret").write_text("from the file\n")
    assert find_token(Settings(state=str(tmp_path), admin_token="given")) == "given"
    assert find_token(Settings(state=str(tmp_path), admin_token_file=str(tmp_path / "secret"))) == "from the file"


def test_an_empty_or_unreadable_secret_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(SettingsError, match="admin_token_file: expected a token"):
        admin_token(Settings(state=str(tmp_path), admin_token_file=str(tmp_path / "secret")))
    with pytest.raises(SettingsError, match=r"cannot be read from '.*none': No such file"):
        admin_token(Settings(state=str(tmp_path), admin_token_file=str(tmp_path / "none")))
    with pytest.raises(SettingsError, match="cannot be written to"):
        admin_token(Settings(state=str(tmp_path / "absent")))
