//! `orders completions`, `orders man` and `orders version`: what a shell, a reader and a script need of the program.

use std::path::Path;

use clap::{Command, CommandFactory};
use serde_json::json;

use crate::cli::{Cli, CompletionsArgs, ManArgs, VersionArgs};
use crate::console;
use crate::error::Error;
use crate::output::{Column, Layout, print_object, text};

const VERSION: Layout = Layout {
    id: "version",
    none: "",
    columns: &[
        Column::new("VERSION", |version| text(version, "version")),
        Column::new("TARGET", |version| text(version, "target")),
    ],
};

/// Prints the script that completes the command line in a shell.
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "orders", &mut script);
    console::print(&String::from_utf8_lossy(&script))
}

/// Prints the manual page, or writes those of all commands into a folder.
pub(super) fn man(args: &ManArgs) -> Result<(), Error> {
    let mut root = Cli::command();
    root.build();
    let Some(folder) = &args.folder else {
        return console::print(&String::from_utf8_lossy(&page(&root, "orders").map_err(failed)?));
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let written = write_pages(&root, "orders", folder).map_err(failed)?;
    console::explain(&format!("{written} pages are in {}\n", folder.display()));
    Ok(())
}

fn failed(error: std::io::Error) -> Error {
    Error::failed(format!("the manual pages cannot be written: {error}"))
        .hint("give a folder in which files can be created")
}

/// Writes the pages of a command and those below it, and returns their number.
fn write_pages(command: &Command, name: &str, folder: &Path) -> std::io::Result<usize> {
    std::fs::write(folder.join(format!("{name}.1")), page(command, name)?)?;
    let mut written = 1;
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        written += write_pages(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(written)
}

fn page(command: &Command, name: &str) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut page)?;
    Ok(page)
}

/// Prints the version, and for which kind of machine the program was built.
pub(super) fn version(args: &VersionArgs) -> Result<(), Error> {
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let version = json!({"version": env!("CARGO_PKG_VERSION"), "target": target});
    print_object(args.format.format(), &VERSION, &version.into(), |version| {
        format!("orders {} ({target})\n", text(version, "version"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let mut root = Cli::command();
        root.build();
        let written = write_pages(&root, "orders", folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), written);
        let list = std::fs::read_to_string(folder.path().join("orders-dead-letters-list.1")).unwrap();
        assert!(list.contains(".TH") && list.contains("error\\-class"), "{list}");
    }

    #[test]
    fn every_shell_completes_the_commands() {
        use clap_complete::Shell;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "orders", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["dead-letters", "watch", "http-addr"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
