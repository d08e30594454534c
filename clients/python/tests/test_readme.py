"""The page that people follow, run as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Server

PAGE = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def test_the_start_of_the_readme_works(server: Server, token: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token)
    code = BLOCKS[0].replace("127.0.0.1:50051", server.address)
    assert server.address in code
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert lines[0] == "ada may be read"
    assert lines[1].startswith("403 [")
    assert lines[2:] == [f"found {name}" for name in ("ada", "bo", "cam", "dev", "eli")]


def test_the_start_of_the_readme_passes_the_type_checker(tmp_path: Path) -> None:
    for number, block in enumerate(BLOCKS[:2]):
        (tmp_path / f"block{number}.py").write_text(block)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


@pytest.mark.anyio
async def test_the_other_blocks_of_the_readme_work(server: Server, token: str) -> None:
    names: dict[str, Any] = {}
    for block in BLOCKS[1:]:
        exec(block.replace("127.0.0.1:50051", server.address), names)
    for app in (names["app"], names["guarded"]):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as client:
            for student, status in (("ada", 200), ("fay", 403)):
                headers = {"Authorization": f"Bearer {token}"}
                assert (await client.get(f"/students/{student}", headers=headers)).status_code == status
            assert (await client.get("/students/ada")).status_code == 401
