//! Secret values in files, for containers that mount secrets.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::ValueError;

/// Maximum number of bytes that are read of a secret's file.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// A value that was read from a file, which can be read again.
#[derive(Clone)]
pub(crate) struct InFile<T> {
    /// The parsed content.
    pub(crate) value: T,
    content: SecretString,
    path: PathBuf,
    parse: fn(&str) -> Result<T, ValueError>,
}

impl<T> InFile<T> {
    fn read(path: &Path, parse: fn(&str) -> Result<T, ValueError>) -> Result<Self, ValueError> {
        let content = read(path).map_err(|error| {
            let hint = "name a file that this user can read, with the value and nothing else";
            ValueError::new(format!("the file cannot be read: {error}"), hint)
        })?;
        let value = content.strip_suffix('\n').unwrap_or(&content);
        let value =
            parse(value.strip_suffix('\r').unwrap_or(value)).map_err(|ValueError { problem, hint }| {
                ValueError::new(format!("the content cannot be used: {problem}"), hint)
            })?;
        Ok(Self { value, content: content.into(), path: path.to_owned(), parse })
    }

    /// Reads the file again. `None` if its content is the same.
    pub(crate) fn read_again(&self) -> Result<Option<Self>, ValueError> {
        let again = Self::read(&self.path, self.parse)?;
        Ok((again.content.expose_secret() != self.content.expose_secret()).then_some(again))
    }

    /// Returns the path of the file, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Omits the content.
impl<T> fmt::Debug for InFile<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Returns a parser that reads a file and parses its content, without the line break at its end.
pub(crate) fn in_file<T>(
    parse: fn(&str) -> Result<T, ValueError>,
) -> impl Fn(&str) -> Result<InFile<T>, ValueError> + Clone + Send + Sync {
    move |path| InFile::read(Path::new(path), parse)
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut content = String::new();
    std::fs::File::open(file)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(std::io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::super::{DatabaseUrl, RedisUrl};
    use super::*;

    #[test]
    fn the_value_is_the_content_without_its_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        let path = file.to_str().unwrap();
        for end in ["", "\n", "\r\n"] {
            std::fs::write(&file, format!("redis://:hush@host:6379{end}")).unwrap();
            let url = in_file(RedisUrl::parse)(path).unwrap();
            assert_eq!(url.value.expose_secret(), "redis://:hush@host:6379", "{end:?}");
            assert!(!format!("{url:?}").contains("hush"));
        }
        for content in ["hush", "hush:hush@host", "hush://"] {
            std::fs::write(&file, content).unwrap();
            let error = in_file(str::parse::<DatabaseUrl>)(path).unwrap_err();
            assert!(error.problem.starts_with("the content cannot be used: "), "{error}");
            assert!(!error.problem.contains("hush") && !error.hint.contains("hush"), "{error:?}");
        }
        std::fs::write(&file, format!("redis://host/{}", "1".repeat(16 * 1024))).unwrap();
        for unreadable in [path, folder.path().to_str().unwrap()] {
            let error = in_file(RedisUrl::parse)(unreadable).unwrap_err();
            assert!(error.problem.starts_with("the file cannot be read"), "{}", error.problem);
        }
        limits_page::row("file with a secret", &limits_page::bytes(MAX_FILE_BYTES as usize));
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        std::fs::write(&file, "redis://first").unwrap();
        let first = in_file(RedisUrl::parse)(file.to_str().unwrap()).unwrap();
        assert!(first.read_again().unwrap().is_none());
        std::fs::write(&file, "redis://second").unwrap();
        let second = first.read_again().unwrap().unwrap();
        assert_eq!(second.value.to_string(), "redis://second");
        assert!(second.read_again().unwrap().is_none());
        std::fs::write(&file, "second").unwrap();
        assert!(second.read_again().is_err());
    }
}
