//! The folder of the SQLite file.

use std::ffi::OsStr;
use std::fs::{DirBuilder, DirEntry, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use gateway::store::ConnectError;

/// The mode of a data folder: only its owner has access.
const FOLDER_MODE: u32 = 0o700;

/// Creates the folder of the database for its owner only.
///
/// An existing folder keeps its permissions, unless it is the default one (`is_default`) and contains only a database:
/// then an earlier version has created it.
pub(super) fn create_data_folder(file: &Path, is_default: bool) -> Result<(), ConnectError> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let created = !folder.exists();
    let is_ours = is_default && contains_only(folder, file);
    let result = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).and_then(|()| {
        // The umask can have removed permissions of the owner.
        if created || is_ours {
            std::fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
        } else {
            Ok(())
        }
    });
    result.map_err(|error| {
        ConnectError::File(format!("cannot create the data folder {}: {error}", folder.display()))
    })
}

/// Checks that every name in the folder begins with that of the file.
fn contains_only(folder: &Path, file: &Path) -> bool {
    let name = file.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
    let has_prefix = |entry: std::io::Result<DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().as_encoded_bytes().starts_with(name))
    };
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.all(has_prefix))
}
