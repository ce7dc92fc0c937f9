//! Compresses what browsers are served (`web/dist`), once, so that a server never does: `NAME.br`
//! (RFC 7932) and `NAME.gz` (RFC 1952), where `src/static_file.rs` includes them.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use brotli::enc::BrotliEncoderParams;
use flate2::{Compression, GzBuilder};

const BUILT: &str = "../../web/dist";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={BUILT}");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    compress(Path::new(BUILT), &out)
}

fn compress(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().ok_or("a file without a name")?;
        let to = to.join(name);
        if path.is_dir() {
            compress(&path, &to)?;
            continue;
        }
        let plain = fs::read(&path)?;
        let with = |extension: &str| {
            let mut path = to.clone().into_os_string();
            path.push(extension);
            path
        };
        let mut br = Vec::new();
        let params = BrotliEncoderParams {
            quality: 11,
            size_hint: plain.len(),
            ..BrotliEncoderParams::default()
        };
        brotli::BrotliCompress(&mut plain.as_slice(), &mut br, &params)?;
        fs::write(with(".br"), br)?;
        // Without a time or a name, so that the same source gives the same program.
        let mut gz = GzBuilder::new().write(Vec::new(), Compression::best());
        gz.write_all(&plain)?;
        fs::write(with(".gz"), gz.finish()?)?;
    }
    Ok(())
}
