//! What is packaged beside the program: completions for shells, and manual pages.

use std::io;
use std::path::Path;

use clap::ValueEnum;
use clap_complete::Shell;

use crate::error::{Error, Result, shown_path};

/// Writes `completions/` and `man/` below a directory, over what an earlier version wrote there.
pub(super) fn write(directory: &Path) -> Result<()> {
    let failed = |error: io::Error| Error::environment(format!("write into {}", shown_path(directory)), error);
    let (completions, man) = (directory.join("completions"), directory.join("man"));
    std::fs::create_dir_all(&completions).and_then(|()| std::fs::create_dir_all(&man)).map_err(failed)?;
    for shell in Shell::value_variants() {
        clap_complete::generate_to(*shell, &mut super::command(), "devvault", &completions).map_err(failed)?;
    }
    clap_mangen::generate_to(super::command(), &man).map_err(failed)
}
