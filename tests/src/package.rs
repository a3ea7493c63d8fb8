//! Packages, made in memory.

use anyhow::Result;
use std::io::{Cursor, Write};
use zip::{ZipWriter, write::SimpleFileOptions};

/// A zip of these files, all of them readable and executable by everybody, as a deployment package's should be.
pub fn zip(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, SimpleFileOptions::default().unix_permissions(0o755))?;
        writer.write_all(content)?;
    }
    Ok(writer.finish()?.into_inner())
}
