//! Small libraries in C that are loaded into a process of the product and come between it and the
//! system: a clock that is wrong, a disk that is full. A file says when.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A compiled library and the file that it obeys.
pub(crate) struct Shim {
    switch: PathBuf,
    library: PathBuf,
    folder: TempDir,
}

impl Shim {
    /// Shifts the clock of the day, and no other, by so many seconds as the file says.
    pub(crate) fn clock() -> Self {
        Self::compile("clock.c", include_str!("clock.c"))
    }

    /// Has no space for files below `data` of the process's folder while the file is there.
    pub(crate) fn full_disk() -> Self {
        Self::compile("disk.c", include_str!("disk.c"))
    }

    fn compile(name: &str, source: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A server of another account loads it as well.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it is ours");
        let (file, library) = (folder.path().join(name), folder.path().join("shim.so"));
        std::fs::write(&file, source).expect("it is ours");
        let mut compiler = std::process::Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).args([&library, &file]);
        let compiled = compiler.output().expect("cc is there: the build needs it too");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        Self { switch: folder.path().join("switch"), library, folder }
    }

    /// For the process that is to load it.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().expect("a path of ours").to_owned();
        vec![("LD_PRELOAD".into(), text(&self.library)), ("SHIM_SWITCH".into(), text(&self.switch))]
    }

    /// Begins the fault.
    pub(crate) fn begin(&self, what: &str) {
        let draft = self.folder.path().join("draft");
        std::fs::write(&draft, what).expect("it is ours");
        // In one step, so that nobody reads half of it.
        std::fs::rename(draft, &self.switch).expect("it is ours");
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        std::fs::remove_file(&self.switch).expect("it is ours");
    }
}
