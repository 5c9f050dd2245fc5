//! Compiles the .proto files with `protox`, which is written in Rust, so no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=orders");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true).open_file("orders/v1/orders.proto")?;
    // Server reflection serves the descriptors to grpcurl and other tools.
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(descriptors, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .btree_map(".orders.v1.Order.metadata")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
