"""Makes `hallpass_client.v1` from the proto files while a wheel or a source archive is built."""

import re
import shutil
import sys
from importlib.resources import files
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# In a checkout the proto files stand in its root; a source archive carries them along.
PLACES = ("../../proto", "proto")


class ProtoBuildHook(BuildHookInterface):
    """Compiles for a wheel, and takes the proto files along for a source archive."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        proto = next((root / place for place in PLACES if (root / place / "hallpass").is_dir()), None)
        if proto is None:
            raise FileNotFoundError(f"no proto files, expected them in {' or '.join(PLACES)} of {root}")
        if self.target_name == "sdist":
            build_data["force_include"][str(proto / "hallpass")] = "proto/hallpass"
            return
        self.out = Path(mkdtemp(prefix="hallpass-client-"))
        package = generate(proto, self.out)
        build_data["force_include"][str(package)] = "hallpass_client/v1"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self.target_name != "sdist":
            shutil.rmtree(self.out)


def generate(proto: Path, out: Path) -> Path:
    """Compiles all proto files into modules with stubs and types, and returns their folder."""
    from grpc_tools import protoc

    # Plugins beside this very interpreter's packages: no search of PATH, which an isolated build may not have.
    plugins = []
    for name, function in (("mypy", "main"), ("mypy_grpc", "grpc")):
        script = out / f"protoc-gen-{name}"
        script.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path[:] = {sys.path!r}\n"
            f"from mypy_protobuf.main import {function}\n{function}()\n"
        )
        script.chmod(0o755)
        plugins += [f"--plugin=protoc-gen-{name}={script}", f"--{name}_out=quiet:{out}"]
    sources = sorted(str(path) for path in proto.glob("hallpass/v1/*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    outputs = [f"--python_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(["protoc", f"-I{proto}", f"-I{well_known}", *outputs, *plugins, *sources]) != 0:
        raise RuntimeError("the proto files cannot be compiled")

    package = out / "hallpass" / "v1"
    for module in package.iterdir():
        module.write_text(within_our_package(module.read_text()))
    (package / "__init__.py").write_text(
        '"""The messages and stubs of hallpass.v1, generated from its proto files."""\n'
    )
    return package


def within_our_package(source: str) -> str:
    """Imports of the generated modules: they stand below `hallpass_client`, and claim no further top-level name."""
    source = re.sub(r"^from hallpass\.v1 import", "from hallpass_client.v1 import", source, flags=re.M)
    return re.sub(r"'hallpass\.v1\.(\w+_pb2)'", r"'hallpass_client.v1.\1'", source)
