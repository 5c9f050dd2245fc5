//! The file of contexts: its place, its permissions and its replacement.
//!
//! A change reads the file, changes it and replaces it while it holds a lock on another file beside it. The lock is not
//! on the file itself, because a replaced file has another lock. Readers need none: a rename replaces the whole content.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::context::Contexts;
use super::format;
use crate::error::Error;

/// The variable with the path of the file.
const VARIABLE: &str = "ORDERS_CONFIG";
/// Maximum number of bytes of the file.
const MAX_FILE_BYTES: usize = 64 * 1024;
/// Maximum time to wait for other commands that change the file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// The mode of a new file: only its owner has access.
const FILE_MODE: u32 = 0o600;
/// The mode of a new folder.
const FOLDER_MODE: u32 = 0o700;
/// The permissions of others to write, and to read or write.
const OTHERS_WRITE: u32 = 0o022;
const OTHERS_ACCESS: u32 = 0o066;

/// Returns the path of the file: of `ORDERS_CONFIG`, or in the folder for the settings of the user.
pub(crate) fn location() -> Result<PathBuf, Error> {
    find().ok_or_else(|| {
        Error::usage("the file of the contexts has no place: HOME is not set")
            .hint(format!("set {VARIABLE} to its path, such as /home/ann/.config/orders/contexts.json"))
    })
}

/// The same; `None` if the environment names no place.
pub(super) fn find() -> Option<PathBuf> {
    find_in(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn find_in(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if let Some(file) = variable(VARIABLE) {
        return std::path::absolute(file).ok();
    }
    // The specification of the variable says that a relative path is not valid.
    let folder = variable("XDG_CONFIG_HOME").filter(|folder| folder.is_absolute());
    let folder = folder.or_else(|| Some(variable("HOME")?.join(".config")))?;
    Some(folder.join("orders/contexts.json"))
}

/// Reads the file. A file that does not exist has no contexts.
pub(crate) fn read(file: &Path) -> Result<Contexts, Error> {
    match open(file) {
        Ok(Some(opened)) => read_opened(opened).map_err(|(problem, hint)| invalid(file, &problem).hint(hint)),
        Ok(None) => Ok(Contexts::default()),
        Err(error) => Err(invalid(file, &format!("it cannot be read: {error}"))
            .hint(format!("make it readable for this user, or set {VARIABLE} to another path"))),
    }
}

fn invalid(file: &Path, problem: &str) -> Error {
    Error::usage(format!(
        "the file of the contexts, {:?}, cannot be used: {problem}",
        file.display().to_string()
    ))
}

fn open(file: &Path) -> io::Result<Option<File>> {
    match std::fs::metadata(file) {
        // To open a pipe can take forever.
        Ok(found) if !found.is_file() => Err(io::Error::other("it is not a regular file")),
        Ok(_) => File::open(file).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads an open file. An error is a problem and a hint.
fn read_opened(file: File) -> Result<Contexts, (String, String)> {
    let unreadable =
        |error: io::Error| (format!("it cannot be read: {error}"), "repeat the command".to_owned());
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut content).map_err(unreadable)?;
    let fixed = || "correct the file, or remove it and store the contexts again".to_owned();
    if content.len() > MAX_FILE_BYTES {
        return Err((format!("it has more than {MAX_FILE_BYTES} bytes"), fixed()));
    }
    let contexts = format::parse(&content).map_err(|problem| (problem, fixed()))?;
    let has_token = contexts.has_token();
    if has_token && mode & OTHERS_ACCESS != 0 {
        return Err(("it contains a key, and other users can read or change it".to_owned(), chmod()));
    }
    // Another user could otherwise direct the key of a file to another gateway.
    if mode & OTHERS_WRITE != 0 {
        return Err(("other users can change it".to_owned(), chmod()));
    }
    Ok(contexts)
}

fn chmod() -> String {
    "run `chmod 600` with the file, and replace the key if another user can have read it".to_owned()
}

/// Changes the contexts and replaces the file, while no other command changes it. An error of `change` leaves the file
/// as it is.
pub(crate) fn update<T>(
    file: &Path,
    change: impl FnOnce(&mut Contexts) -> Result<T, Error>,
) -> Result<T, Error> {
    let failed = |problem: String| {
        Error::failed(format!(
            "cannot write the file of the contexts, {:?}: {problem}",
            file.display().to_string()
        ))
        .hint(format!("use a folder in which this user can write; {VARIABLE} sets the path of the file"))
    };
    // A link stays a link: the file that it names is replaced.
    let target = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
    create_folder(&target).map_err(|error| failed(error.to_string()))?;
    let lock = with_suffix(&target, ".lock");
    let _locked =
        acquire(&lock, LOCK_TIMEOUT).map_err(|error| failed(format!("{}: {error}", lock.display())))?;
    let mut contexts = read(&target)?;
    let result = change(&mut contexts)?;
    let content = format::to_json(&contexts).map_err(|problem| {
        Error::usage(format!("the contexts cannot be stored: {problem}"))
            .hint("remove contexts that are not used")
    })?;
    if content.len() > MAX_FILE_BYTES {
        return Err(Error::usage(format!("the contexts would have more than {MAX_FILE_BYTES} bytes"))
            .hint("remove contexts that are not used, or store keys in files with --token-file"));
    }
    replace(&target, &content).map_err(|error| failed(error.to_string()))?;
    Ok(result)
}

fn create_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) => DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder),
        None => Ok(()),
    }
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Acquires the lock, which ends with the returned file. A thread waits for it, because the call has no timeout.
fn acquire(lock: &Path, timeout: Duration) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(lock)?;
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().name("context-lock".to_owned()).spawn(move || {
        let locked = file.lock().map(|()| file);
        // Without a receiver the command has ended with an error, and the lock ends here.
        let _ = sender.send(locked);
    })?;
    receiver.recv_timeout(timeout).unwrap_or_else(|_| {
        let seconds = timeout.as_secs();
        Err(io::Error::new(ErrorKind::TimedOut, format!("another command has held the lock for {seconds} s")))
    })
}

/// Replaces the file in one step: a reader, and a crash, see the old content or the new one.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    // The lock permits one draft. An earlier one is that of a command that was killed.
    let draft = with_suffix(file, ".draft");
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut new = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&draft)?;
    new.write_all(content)?;
    new.sync_all()?;
    std::fs::rename(&draft, file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;
    use crate::contexts::context::{Context, Credential, MAX_TOKEN_BYTES};
    use crate::values::{self, ContextName};

    fn add(contexts: &mut Contexts, name: &str, credential: Option<Credential>) {
        let url = values::context_url("https://orders.example").unwrap();
        let name: ContextName = name.parse().unwrap();
        contexts.by_name.insert(name, Context { url, ca: None, credential });
    }

    fn token() -> Option<Credential> {
        Some(Credential::Token("hush-hush".into()))
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn place_is_the_first_that_the_environment_names() {
        let path = |variables: &[(&str, &str)]| {
            let found = find_in(|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value))
            });
            found.map(|path| path.display().to_string())
        };
        let home = ("HOME", "/home/ann");
        assert_eq!(path(&[home]).unwrap(), "/home/ann/.config/orders/contexts.json");
        let folder = ("XDG_CONFIG_HOME", "/settings");
        assert_eq!(path(&[home, folder]).unwrap(), "/settings/orders/contexts.json");
        let relative = path(&[home, ("XDG_CONFIG_HOME", "settings")]).unwrap();
        assert_eq!(relative, "/home/ann/.config/orders/contexts.json");
        assert_eq!(path(&[home, folder, (VARIABLE, "/my.json")]).unwrap(), "/my.json");
        assert_eq!(path(&[]), None);
    }

    #[test]
    fn a_change_replaces_the_file_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/contexts.json");
        assert!(read(&file).unwrap().by_name.is_empty());
        for name in ["a", "b"] {
            update(&file, |contexts| {
                add(contexts, name, token());
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(read(&file).unwrap().by_name.len(), 2);
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (FILE_MODE, FOLDER_MODE));
        let names =
            std::fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.count(), 2, "the file and its lock; no draft is left");

        let before = std::fs::read(&file).unwrap();
        let refused = update(&file, |contexts| -> Result<(), Error> {
            contexts.by_name.clear();
            Err(Error::usage("no"))
        });
        assert!(refused.is_err());
        assert_eq!(std::fs::read(&file).unwrap(), before, "an error changes nothing");

        // A killed command leaves a draft that others can read.
        std::fs::write(with_suffix(&file, ".draft"), "{").unwrap();
        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        update(&link, |contexts| {
            add(contexts, "c", None);
            Ok(())
        })
        .unwrap();
        assert_eq!((read(&file).unwrap().by_name.len(), mode(&file)), (3, FILE_MODE));
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (credential, mode, is_accepted) in [
            (token(), 0o600, true),
            (token(), 0o400, true),
            (token(), 0o640, false),
            (token(), 0o604, false),
            (token(), 0o620, false),
            (Some(Credential::File("/a.key".into())), 0o644, true),
            (Some(Credential::File("/a.key".into())), 0o664, false),
            (None, 0o644, true),
            (None, 0o666, false),
        ] {
            let file = folder.path().join("contexts.json");
            update(&file, |contexts| {
                add(contexts, "a", credential);
                Ok(())
            })
            .unwrap();
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            match read(&file) {
                Ok(_) => assert!(is_accepted, "{mode:o}"),
                Err(error) => {
                    assert!(!is_accepted, "{mode:o}: {error}");
                    assert!(error.to_string().contains("other users"), "{error}");
                    assert!(error.hint_text().contains("chmod 600"), "{}", error.hint_text());
                }
            }
            std::fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn files_that_cannot_be_contexts_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
        let file = folder.path().join("contexts.json");
        std::fs::write(&file, vec![b' '; MAX_FILE_BYTES + 1]).unwrap();
        let error = read(&file).unwrap_err();
        assert!(error.to_string().contains("more than 65536 bytes"), "{error}");
        std::fs::remove_file(&file).unwrap();
        let large = update(&file, |contexts| {
            for number in 0..10 {
                let token = Some(Credential::Token("x".repeat(MAX_TOKEN_BYTES).into()));
                add(contexts, &format!("a{number}"), token);
            }
            Ok(())
        });
        assert!(large.unwrap_err().to_string().contains("more than 65536 bytes") && !file.exists());
        limits_page::row("file of the contexts", &limits_page::bytes(MAX_FILE_BYTES));
    }

    #[test]
    fn the_wait_for_another_change_ends() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        let held = acquire(&lock, LOCK_TIMEOUT).unwrap();
        let error = acquire(&lock, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(held);
        acquire(&lock, LOCK_TIMEOUT).unwrap();
        limits_page::row("wait for another change of the contexts", &limits_page::time(LOCK_TIMEOUT));
    }
}
