//! Compiles the proto files with protox, so that no protoc has to be installed.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use prost::Message as _;

/// What generated services and clients read and write messages with.
const CODEC: &str = "crate::proto::codec::BoundedCodec";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=benches/proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);

    let service = protox::compile(
        [
            "hallpass/v1/authorization.proto",
            "hallpass/v1/explanation.proto",
            "hallpass/v1/relationships.proto",
            "hallpass/v1/decisions.proto",
            "hallpass/v1/privacy.proto",
            "hallpass/v1/policies.proto",
            "hallpass/v1/changes.proto",
            "hallpass/v1/applications.proto",
            "hallpass/v1/revocations.proto",
        ],
        ["proto"],
    )?;
    fs::write(out.join("hallpass_descriptor.bin"), service.encode_to_vec())?;
    tonic_prost_build::configure().codec_path(CODEC).compile_fds(service)?;

    // What Envoy asks, without what it says of itself otherwise.
    let envoy = protox::compile(["envoy/service/auth/v3/external_auth.proto"], ["proto"])?;
    fs::write(out.join("envoy_descriptor.bin"), envoy.encode_to_vec())?;
    tonic_prost_build::configure().codec_path(CODEC).build_client(true).compile_fds(envoy)?;

    embed(&out)?;

    // The floor that benches/ratios.rs measures against; no part of the product.
    let echo = protox::compile(["bench/v1/echo.proto"], ["benches/proto"])?;
    tonic_prost_build::configure().compile_fds(echo)?;
    Ok(())
}

/// Writes modules with files that the program carries along: for `hallpass demo` the realms and the example district, for
/// every service the policies that judge who reads the decision log.
fn embed(out: &Path) -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let modules: [(&str, &[(&str, &str)]); 2] = [
        ("demo_files.rs", &[("POLICIES", "policies"), ("DISTRICT", "examples/district")]),
        ("caller_files.rs", &[("FILES", "policies/hallpass")]),
    ];
    for (file, folders) in modules {
        let mut module = String::new();
        for (name, folder) in folders {
            write_folder(&mut module, name, &root, folder)?;
        }
        fs::write(out.join(file), module)?;
    }
    Ok(())
}

fn write_folder(module: &mut String, name: &str, root: &Path, folder: &str) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={folder}");
    let mut files = Vec::new();
    list(&root.join(folder), "", &mut files)?;
    files.sort();
    writeln!(module, "/// The files of `{folder}`, by their path within it.")?;
    writeln!(module, "pub(super) const {name}: [(&str, &str); {}] = [", files.len())?;
    for file in files {
        let path = root.join(folder).join(&file).display().to_string();
        writeln!(module, "    ({file:?}, include_str!({path:?})),")?;
    }
    writeln!(module, "];")?;
    Ok(())
}

fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().ok_or("a file without a name")?.to_string_lossy().into_owned();
        if path.is_dir() {
            list(&path, &format!("{prefix}{name}/"), files)?;
        } else {
            files.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}
