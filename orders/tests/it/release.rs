//! The release: its workflows, the version in every file, the Debian package, the installer, checksums and signatures.
//!
//! The scripts of `scripts/release` run as in the workflow, with the program under test in place of the static one. The
//! cross-compiler, an empty Debian and Docker are not used: `docs/contribute/releases.md` lists the scripts that need them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::kubernetes::manifests_py;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn repository(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The folder of the published files, and a program that is as small as one line.
struct Release {
    folder: TempDir,
}

impl Release {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("packages")).expect("it is ours");
        std::fs::create_dir(folder.path().join("home")).expect("it is ours");
        let program = format!("#!/bin/sh\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_orders"));
        let path = folder.path().join("orders");
        std::fs::write(&path, program).expect("it is ours");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it is ours");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a program with the variables of the release and no others.
    fn run(&self, program: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        for name in ["PATH", "CARGO_HOME", "RUSTUP_HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command
            .env("HOME", self.path("home"))
            .env("CARGO_TARGET_DIR", self.path("target"))
            .env("ORDERS_PACKAGES", self.path("packages"))
            .env("ORDERS_RELEASE_PROGRAM", self.path("orders"))
            .env("ORDERS_RELEASE", format!("file://{}", self.path("packages").display()))
            .env("SOURCE_DATE_EPOCH", "1796000000")
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Output {
        self.run(&repository("scripts/release").join(name), arguments)
    }

    /// Runs a program of the system, which must succeed, and returns its output.
    fn tool(&self, name: &str, arguments: &[&str]) -> String {
        succeeded(&self.run(Path::new(name), arguments))
    }

    /// Makes the archive of this machine's architecture, which contains the small program, and the checksums.
    fn pack(&self) -> PathBuf {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let name = format!("orders-{VERSION}-linux-{architecture}");
        std::fs::create_dir_all(self.path(&name)).expect("it is ours");
        std::fs::copy(self.path("orders"), self.path(&name).join("orders")).expect("it is ours");
        let archive = self.path("packages").join(format!("{name}.tar.gz"));
        self.tool("tar", &["-czf", &archive.display().to_string(), &name]);
        succeeded(&self.script("checksums.sh", &["https://example.com/v0"]));
        archive
    }

    fn install(&self, arguments: &[&str]) -> Output {
        let installer = self.path("packages/install.sh").display().to_string();
        self.run(Path::new("sh"), &[&[installer.as_str()], arguments].concat())
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The program failed with this error.
fn failed(output: &Output, error: &str) {
    assert!(!output.status.success(), "it succeeded: {}", text(output));
    assert!(text(output).contains(error), "{}", text(output));
}

/// The jobs of a workflow.
fn jobs(file: &str) -> BTreeMap<String, Value> {
    let output = manifests_py(&read(file), &[]);
    assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    let documents: Vec<Value> = serde_json::from_slice(&output.stdout).expect("the output is JSON");
    assert_eq!(
        documents[0]["permissions"],
        serde_json::json!({"contents": "read"}),
        "{file}: permissions of all jobs"
    );
    let jobs = documents[0]["jobs"].as_object().expect("there are jobs");
    jobs.iter().map(|(name, job)| (name.clone(), job.clone())).collect()
}

#[test]
fn workflows_run_scripts_that_exist() {
    let mut called = BTreeSet::new();
    for file in [".github/workflows/ci.yml", ".github/workflows/release.yml"] {
        let jobs = jobs(file);
        for (name, job) in &jobs {
            assert!(job["timeout-minutes"].is_u64(), "{file}: {name} has no timeout");
            for needed in job["needs"].as_array().into_iter().flatten() {
                assert!(jobs.contains_key(needed.as_str().expect("a name")), "{file}: {name} needs {needed}");
            }
            for step in job["steps"].as_array().expect("there are steps") {
                assert!(step["run"].is_string() != step["uses"].is_string(), "{file}: {step}");
                let words = step["run"].as_str().unwrap_or_default().split_whitespace();
                called.extend(words.filter(|word| word.starts_with("scripts/")).map(str::to_owned));
            }
        }
    }
    for script in &called {
        let mode = std::fs::metadata(repository(script)).unwrap_or_else(|error| panic!("{script}: {error}"));
        assert_eq!(mode.permissions().mode() & 0o111, 0o111, "{script} can be executed");
    }
    // The others are used by scripts, or by users.
    let all = std::fs::read_dir(repository("scripts/release")).expect("it exists");
    let names = all.map(|entry| entry.expect("it can be read").file_name().into_string().expect("UTF-8"));
    let uncalled: BTreeSet<_> = names
        .filter(|name| name.ends_with(".sh") && !called.contains(&format!("scripts/release/{name}")))
        .collect();
    assert_eq!(uncalled, ["install.sh", "lib.sh", "try.sh"].map(str::to_owned).into());
}

#[test]
fn only_a_tag_publishes() {
    let jobs = jobs(".github/workflows/release.yml");
    for (name, job) in &jobs {
        let is_writing = !job["permissions"].is_null();
        assert_eq!(is_writing, name == "publish", "{name}: {}", job["permissions"]);
    }
    let publish = &jobs["publish"];
    assert_eq!(publish["if"], "github.ref_type == 'tag'");
    let needed = publish["needs"].as_array().expect("jobs").iter().filter_map(Value::as_str).collect();
    let others: BTreeSet<_> = jobs.keys().map(String::as_str).filter(|name| *name != "publish").collect();
    assert_eq!(others, needed, "a job that fails prevents the release");
}

#[test]
fn versions_agree() {
    let after = |file: &str, prefix: &str| {
        let text = read(file);
        let found = text.lines().find_map(|line| line.trim_start().strip_prefix(prefix));
        found
            .unwrap_or_else(|| panic!("{file} has no line with {prefix}"))
            .trim_matches(['"', ','])
            .to_owned()
    };
    for (file, prefix) in [
        ("ops/helm/orders/Chart.yaml", "version: "),
        ("ops/helm/orders/Chart.yaml", "appVersion: "),
        ("sdk/python/pyproject.toml", "version = "),
        ("sdk/typescript/package.json", "\"version\": "),
        ("sdk/typescript/package-lock.json", "\"version\": "),
    ] {
        assert_eq!(after(file, prefix), VERSION, "{file}");
    }
    for file in [
        "ops/kubernetes/base/orders.yaml",
        "ops/kubernetes/migrate/job.yaml",
        "ops/kubernetes/trial/orders.yaml",
    ] {
        let text = read(file);
        let images: BTreeSet<_> =
            text.lines().filter_map(|line| line.trim().strip_prefix("image: orders:")).collect();
        assert_eq!(images, [VERSION].into(), "{file}");
    }
    let first = read("CHANGELOG.md").lines().find(|line| line.starts_with("## ")).map(str::to_owned);
    let section = first.expect("the changelog has sections");
    assert!(section == "## Unreleased" || section.starts_with(&format!("## {VERSION} (")), "{section}");
    // The names of files that readers download.
    let install = read("docs/start/install.md");
    for name in names_of_files(&install) {
        assert!(name.contains(VERSION), "docs/start/install.md: {name}");
    }
}

/// The names in back quotes that begin as those of published files do.
fn names_of_files(page: &str) -> Vec<&str> {
    let names = page.split('`').filter(|word| word.starts_with("orders-0") || word.starts_with("orders_0"));
    let names: Vec<_> = names.filter(|word| !word.contains(char::is_whitespace)).collect();
    assert!(names.len() > 5, "the page names the files: {names:?}");
    names
}

#[test]
fn a_version_without_notes_or_with_another_tag_is_refused() {
    let release = Release::new();
    let tag = format!("refs/tags/v{VERSION}");
    assert!(text(&release.script("check-version.sh", &[&tag])).contains(&format!("version {VERSION}")));
    failed(&release.script("check-version.sh", &["refs/tags/v9.9.9"]), "the tag is v9.9.9");
}

#[test]
fn debian_package() {
    let release = Release::new();
    let architecture = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
    succeeded(&release.script("deb.sh", &[architecture]));
    let packages = std::fs::read_dir(release.path("packages")).expect("it is ours");
    let deb = packages.map(|entry| entry.expect("it is ours").path()).next().expect("one package");
    let deb = deb.display().to_string();

    let field = |name: &str| release.tool("dpkg-deb", &["--field", &deb, name]).trim().to_owned();
    assert_eq!(field("Package"), "orders");
    assert_eq!(field("Version"), format!("{VERSION}-1"));
    let debian = if architecture == "aarch64" { "arm64" } else { "amd64" };
    assert_eq!(field("Architecture"), debian);
    assert!(deb.ends_with(&format!("orders_{VERSION}-1_{debian}.deb")), "{deb}");
    // A static program depends on no library.
    assert_eq!(field("Depends"), "adduser");
    assert!(!read("ops/debian/control").contains(&field("Installed-Size")), "the size is measured");

    let mut files = BTreeMap::new();
    for line in release.tool("dpkg-deb", &["--contents", &deb]).lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[1], "root/root", "{line}");
        let is_writable_for_others = words[0].as_bytes()[8] == b'w';
        assert!(!is_writable_for_others, "{line}");
        files.insert(words[5].trim_start_matches('.').to_owned(), words[0].to_owned());
    }
    for (name, mode) in [
        ("/usr/bin/orders", "-rwxr-xr-x"),
        ("/etc/orders/orders.toml", "-rw-r--r--"),
        ("/usr/lib/systemd/system/orders.service", "-rw-r--r--"),
        ("/usr/lib/systemd/system/orders-gateway.service", "-rw-r--r--"),
        ("/usr/lib/systemd/system/orders-processor.service", "-rw-r--r--"),
        ("/usr/share/man/man1/orders.1.gz", "-rw-r--r--"),
        ("/usr/share/man/man1/orders-create.1.gz", "-rw-r--r--"),
        ("/usr/share/bash-completion/completions/orders", "-rw-r--r--"),
        ("/usr/share/doc/orders/copyright", "-rw-r--r--"),
        ("/usr/share/doc/orders/THIRD-PARTY.txt.gz", "-rw-r--r--"),
    ] {
        assert_eq!(files.get(name).map(String::as_str), Some(mode), "{name} of {:?}", files.keys());
    }
    let before = std::fs::read(&deb).expect("it is ours");
    succeeded(&release.script("deb.sh", &[architecture]));
    assert_eq!(std::fs::read(&deb).expect("it is ours"), before, "the same files give the same package");
}

#[test]
fn settings_of_the_debian_package_are_valid() {
    let release = Release::new();
    let example = read("ops/debian/orders.toml");
    // The examples are the commented lines with a key or a table.
    let is_setting = |line: &str| {
        line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    let settings = example.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| is_setting(line));
    let settings = settings.collect::<Vec<_>>().join("\n");
    assert!(["[dev]", "[gateway]", "[processor]"].iter().all(|table| settings.contains(table)), "{settings}");
    for (file, secret) in [
        ("database-url", "mysql://orders:secret@localhost/orders"),
        ("redis-url", "redis://:secret@localhost"),
        ("token", "secret"),
    ] {
        std::fs::write(release.path(file), secret).expect("it is ours");
        std::fs::set_permissions(release.path(file), PermissionsExt::from_mode(0o600)).expect("it is ours");
    }
    let settings = settings.replace("/etc/orders/secrets", &release.folder.path().display().to_string());
    let file = release.path("orders.toml").display().to_string();
    std::fs::write(&file, settings).expect("it is ours");
    for (service, command) in
        [("orders", "dev"), ("orders-gateway", "gateway"), ("orders-processor", "processor")]
    {
        let unit = read(&format!("ops/debian/{service}.service"));
        let start =
            unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/orders ")).expect("a command");
        assert_eq!(start.split(' ').next(), Some(command), "{service}");
        let shown =
            release.tool(env!("CARGO_BIN_EXE_orders"), &["config", command, "--config", &file, "-o", "csv"]);
        assert!(shown.contains(&file), "{command} uses the settings of the file: {shown}");
    }
}

#[test]
fn installer_completes_a_first_order() {
    let release = Release::new();
    release.pack();
    let output = succeeded(&release.install(&["--first-order"]));
    assert!(output.contains("completed"), "{output}");
    let installed = release.path("home/.local/bin/orders");
    assert_eq!(release.tool(&installed.display().to_string(), &["--version"]), format!("orders {VERSION}\n"));
    // Over the installed program, and without the order.
    let output = succeeded(&release.install(&[]));
    assert!(output.contains("orders dev"), "{output}");
}

#[test]
fn installer_refuses_a_changed_archive() {
    let release = Release::new();
    let archive = release.pack();
    let mut bytes = std::fs::read(&archive).expect("it is ours");
    bytes.push(0);
    std::fs::write(&archive, bytes).expect("it is ours");
    failed(&release.install(&[]), "differs from its checksum");
    std::fs::remove_file(&archive).expect("it is ours");
    failed(&release.install(&[]), "cannot be downloaded");
    std::fs::write(release.path("packages/SHA256SUMS"), "").expect("it is ours");
    std::fs::write(&archive, "").expect("it is ours");
    failed(&release.install(&[]), "differs from its checksum");
    assert!(!release.path("home/.local").exists(), "nothing was installed");
}

/// Creates a key of a maintainer, and returns the file with its public part for `verify.sh`.
fn create_key(release: &Release, name: &str) -> String {
    let key = release.path(name).display().to_string();
    release.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key]);
    let public = std::fs::read_to_string(format!("{key}.pub")).expect("it is ours");
    let signers = format!("{key}.signers");
    std::fs::write(&signers, format!("release {public}")).expect("it is ours");
    signers
}

#[test]
fn signed_files_are_verified() {
    let release = Release::new();
    let archive = release.pack();
    let (signers, others) = (create_key(&release, "key"), create_key(&release, "other"));
    let packages = release.path("packages").display().to_string();
    let verify = |signers: &str| release.script("verify.sh", &[&packages, "--signers", signers]);
    failed(&verify(&signers), "SHA256SUMS.sig is missing");
    succeeded(&release.script("sign.sh", &["ssh", &release.path("key").display().to_string()]));
    // The archive and the installer.
    assert!(succeeded(&verify(&signers)).contains("2 files"));
    failed(&verify(&others), "was not signed by one of");

    let unsigned = release.script("verify.sh", &[&packages]);
    assert!(succeeded(&unsigned).contains("2 files") && text(&unsigned).contains("is not verified"));

    let content = std::fs::read(&archive).expect("it is ours");
    std::fs::write(&archive, [&content[..], b"\n"].concat()).expect("it is ours");
    failed(&verify(&signers), "differs from its checksum");
    std::fs::write(&archive, content).expect("it is ours");
    let additional = release.path("packages/orders-[0-9].deb");
    std::fs::write(&additional, "").expect("it is ours");
    failed(&verify(&signers), "is not listed in SHA256SUMS");
    std::fs::remove_file(&additional).expect("it is ours");
    let sums = std::fs::read_to_string(release.path("packages/SHA256SUMS")).expect("it is ours");
    std::fs::write(release.path("packages/SHA256SUMS"), sums.to_uppercase()).expect("it is ours");
    failed(&verify(&signers), "was not signed by one of");
}

/// The instructions of the last stage that say how a container runs.
fn container(file: &str) -> BTreeSet<String> {
    let text = read(file).replace("\\\n", " ");
    let stage = text.rsplit("\nFROM ").next().expect("a stage");
    let is_about_running = |line: &&str| {
        ["USER", "VOLUME", "ENV", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"]
            .contains(&line.split(' ').next().unwrap_or_default())
    };
    let lines = stage.lines().filter(is_about_running);
    // Only an image without a shell and a base has to set its PATH.
    lines
        .map(|line| {
            line.split_whitespace().filter(|word| !word.starts_with("PATH=")).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn image_of_a_release_runs_as_the_one_from_source() {
    let built = container("Dockerfile");
    assert!(built.len() >= 6, "{built:?}");
    assert_eq!(container("ops/image/Dockerfile"), built);
}
