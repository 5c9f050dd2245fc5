//! Secret values in files, for containers that mount secrets.

use std::io::Read;
use std::path::Path;

use super::ValueError;

/// Maximum number of bytes that are read of a secret's file.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// Returns a parser that reads a file and parses its content, without the line break at its end.
pub(crate) fn in_file<T>(
    parse: fn(&str) -> Result<T, ValueError>,
) -> impl Fn(&str) -> Result<T, ValueError> + Clone + Send + Sync {
    move |path| {
        let content = read(Path::new(path)).map_err(|error| {
            let hint = "name a file that this user can read, with the value and nothing else";
            ValueError::new(format!("the file cannot be read: {error}"), hint)
        })?;
        let value = content.strip_suffix('\n').unwrap_or(&content);
        parse(value.strip_suffix('\r').unwrap_or(value)).map_err(|ValueError { problem, hint }| {
            ValueError::new(format!("the content cannot be used: {problem}"), hint)
        })
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut content = String::new();
    std::fs::File::open(file)?.take(MAX_FILE_BYTES).read_to_string(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::super::{DatabaseUrl, ServerUrl};
    use super::*;

    #[test]
    fn the_value_is_the_content_without_its_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        let path = file.to_str().unwrap();
        for end in ["", "\n", "\r\n"] {
            std::fs::write(&file, format!("redis://:hush@host:6379{end}")).unwrap();
            let url = in_file(ServerUrl::redis)(path).unwrap();
            assert_eq!(url.expose_secret().password(), Some("hush"), "{end:?}");
        }
        std::fs::write(&file, "hush").unwrap();
        let error = in_file(str::parse::<DatabaseUrl>)(path).unwrap_err();
        assert_eq!(error.problem, "the content cannot be used: it is not a URL");
        let error = in_file(ServerUrl::redis)(folder.path().to_str().unwrap()).unwrap_err();
        assert!(error.problem.starts_with("the file cannot be read"), "{}", error.problem);
    }
}
