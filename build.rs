//! Compiles the proto files with protox, so that no protoc has to be installed.

use std::{env, error::Error, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=benches/proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);

    let service = protox::compile(
        [
            "hallpass/v1/authorization.proto",
            "hallpass/v1/relationships.proto",
            "hallpass/v1/decisions.proto",
            "hallpass/v1/policies.proto",
        ],
        ["proto"],
    )?;
    std::fs::write(out.join("hallpass_descriptor.bin"), service.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(service)?;

    // The floor that benches/ratios.rs measures against; no part of the product.
    let echo = protox::compile(["bench/v1/echo.proto"], ["benches/proto"])?;
    tonic_prost_build::configure().compile_fds(echo)?;
    Ok(())
}
