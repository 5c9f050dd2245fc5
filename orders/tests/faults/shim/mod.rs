//! Small C libraries that are loaded into a process and replace calls of the system: a wrong clock, a full disk. A file
//! switches the fault on.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A compiled library and its switch file.
pub(crate) struct Shim {
    switch: PathBuf,
    library: PathBuf,
    folder: TempDir,
}

impl Shim {
    /// Shifts the real-time clock, and no other, by the number of seconds in the file.
    pub(crate) fn clock() -> Self {
        Self::compile("clock.c", include_str!("clock.c"))
    }

    /// Reports a full disk for files below a folder `data` while the file exists.
    pub(crate) fn full_disk() -> Self {
        Self::compile("disk.c", include_str!("disk.c"))
    }

    fn compile(name: &str, source: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A server with another account loads the library as well.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it is ours");
        let (file, library) = (folder.path().join(name), folder.path().join("shim.so"));
        std::fs::write(&file, source).expect("it is ours");
        let mut compiler = std::process::Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).args([&library, &file]);
        let compiled = compiler.output().expect("cc exists, because the build needs it");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        Self { switch: folder.path().join("switch"), library, folder }
    }

    /// Returns the variables of the process that loads the library.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().expect("a path of ours").to_owned();
        vec![("LD_PRELOAD".into(), text(&self.library)), ("SHIM_SWITCH".into(), text(&self.switch))]
    }

    /// Begins the fault.
    pub(crate) fn begin(&self, content: &str) {
        let draft = self.folder.path().join("draft");
        std::fs::write(&draft, content).expect("it is ours");
        // A rename is atomic, so the library never reads a partial file.
        std::fs::rename(draft, &self.switch).expect("it is ours");
    }

    /// Ends the fault.
    pub(crate) fn end(&self) {
        std::fs::remove_file(&self.switch).expect("it is ours");
    }
}
