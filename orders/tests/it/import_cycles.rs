//! No import cycle exists between the files of a crate.
//!
//! The imports are read from the sources: `use` declarations with nested trees, and paths that begin with `crate`,
//! `super`, `self` or the name of a child module. A declaration `mod x;` and a re-export are no imports: an import of
//! a re-exported item counts for the file that the item comes from. Tests are not checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module of a crate that has its own file, by its path; the root is empty.
type Module = Vec<String>;

/// An item of a module, or the module itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Target {
    module: Module,
    item: Option<String>,
}

/// The files of a crate.
struct Sources(BTreeMap<Module, String>);

impl Sources {
    fn read(src: &Path) -> Self {
        let mut sources = BTreeMap::new();
        collect(src, &[], &mut sources);
        Self(sources)
    }

    /// File → the files whose items it uses.
    fn imports(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let mut reexports: BTreeMap<(Module, String), Target> = BTreeMap::new();
        let mut uses: BTreeMap<&Module, BTreeSet<Target>> = BTreeMap::new();
        for (module, code) in &self.0 {
            let targets = uses.entry(module).or_default();
            for (is_reexport, tree) in use_declarations(code) {
                for path in leaves(&tree) {
                    let Some(target) = self.resolve(module, &path.path) else { continue };
                    if is_reexport {
                        reexports.insert((module.clone(), path.name), target);
                    } else {
                        targets.insert(target);
                    }
                }
            }
            let paths = paths(&without_uses(code));
            targets.extend(paths.iter().filter_map(|path| self.resolve(module, path)));
        }
        let origin = |target: &Target| {
            let mut target = target.clone();
            // A chain of re-exports is short.
            for _ in 0..8 {
                let Some(item) = target.item.clone() else { break };
                let Some(next) = reexports.get(&(target.module.clone(), item)) else { break };
                target = next.clone();
            }
            target.module
        };
        uses.into_iter()
            .map(|(module, targets)| {
                (module, targets.iter().map(origin).filter(|target| target != module).collect())
            })
            .collect()
    }

    /// Follows a path from a module as far as there are files; `None` for a path of another crate.
    fn resolve(&self, from: &Module, path: &[String]) -> Option<Target> {
        let mut module = from.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (module, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|first| first == "super") {
                    module.pop();
                    rest = &rest[1..];
                }
            }
            child => {
                let child = [&module[..], &[child.to_owned()]].concat();
                self.0.get(&child)?;
            }
        }
        while let Some((first, others)) = rest.split_first() {
            let child = [&module[..], std::slice::from_ref(first)].concat();
            if !self.0.contains_key(&child) {
                break;
            }
            (module, rest) = (child, others);
        }
        Some(Target { module, item: rest.first().cloned() })
    }

    /// The files that can reach themselves, each group of them once.
    fn cycles(&self) -> BTreeSet<BTreeSet<String>> {
        let imports = self.imports();
        let reachable = |start: &Module| {
            let mut found: BTreeSet<&Module> = BTreeSet::new();
            let mut open: Vec<&Module> = imports[start].iter().collect();
            while let Some(next) = open.pop() {
                if found.insert(next) {
                    open.extend(&imports[next]);
                }
            }
            found
        };
        let reach: BTreeMap<&Module, BTreeSet<&Module>> =
            imports.keys().map(|&module| (module, reachable(module))).collect();
        let name = |module: &Module| if module.is_empty() { "lib".to_owned() } else { module.join("/") };
        let together = |a: &Module| {
            let others = reach[a].iter().filter(|other| reach[*other].contains(a));
            others.map(|module| name(module)).collect()
        };
        reach
            .keys()
            .filter(|module| reach[*module].contains(*module))
            .map(|module| together(module))
            .collect()
    }
}

fn collect(folder: &Path, module: &[String], sources: &mut BTreeMap<Module, String>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        // Only tests are in modules of this name.
        if stem == "tests" {
            continue;
        }
        let below = [module, std::slice::from_ref(&stem)].concat();
        if path.is_dir() {
            collect(&path, &below, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let is_root = module.is_empty() && matches!(stem.as_str(), "lib" | "main");
            let own = if stem == "mod" || is_root { module.to_vec() } else { below };
            let text = std::fs::read_to_string(&path).expect("sources can be read");
            sources.insert(own, code(&text));
        }
    }
}

/// The code of a file without comments and without its tests.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The trees of the `use` declarations, and whether they are re-exports.
fn use_declarations(code: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    for statement in statements(code) {
        let statement = statement.trim();
        let (is_public, declaration) = match statement.strip_prefix("pub") {
            Some(rest) => {
                let rest = rest.trim_start();
                let rest = match rest.strip_prefix('(') {
                    Some(restricted) => restricted.split_once(')').map_or("", |(_, rest)| rest),
                    None => rest,
                };
                (true, rest.trim_start())
            }
            None => (false, statement),
        };
        if let Some(tree) = declaration.strip_prefix("use ") {
            found.push((is_public, tree.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    found
}

/// The parts of the code that can be a `use` declaration: each begins with a line and ends with a semicolon.
fn statements(code: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut open: Option<String> = None;
    for line in code.lines() {
        if open.is_none() && declares_use(line) {
            open = Some(String::new());
        }
        if let Some(statement) = &mut open {
            statement.push_str(line);
            statement.push(' ');
            if line.contains(';') {
                let statement = open.take().unwrap_or_default();
                statements.push(statement.split(';').next().unwrap_or_default().to_owned());
            }
        }
    }
    statements
}

/// Whether a `use` declaration of any visibility begins in this line.
fn declares_use(line: &str) -> bool {
    let line = line.trim_start();
    let after_visibility = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')').map_or("", |(_, rest)| rest),
        Some(rest) => rest,
        None => line,
    };
    after_visibility.trim_start().starts_with("use ")
}

fn without_uses(code: &str) -> String {
    let mut rest = code.split_whitespace().collect::<Vec<_>>().join(" ");
    for statement in statements(code) {
        let statement = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        rest = rest.replace(&format!("{statement};"), "");
    }
    rest
}

/// One path of a `use` tree, and the name that it gets.
struct Leaf {
    path: Vec<String>,
    name: String,
}

/// Expands `a::{b, c::{d as e}}`.
fn leaves(tree: &str) -> Vec<Leaf> {
    let tree = tree.trim();
    if let Some((prefix, inner)) = tree.split_once('{') {
        let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
        let (mut depth, mut part, mut found) = (0_u32, String::new(), Vec::new());
        for letter in inner.chars().chain([',']) {
            match letter {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => {
                    if !part.trim().is_empty() {
                        found.extend(leaves(&format!("{}{}", prefix.trim(), part.trim())));
                    }
                    part.clear();
                    continue;
                }
                _ => {}
            }
            part.push(letter);
        }
        return found;
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
    let mut path: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
    // `a::{self}` is `a`.
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = alias.unwrap_or(path.last().map_or("", String::as_str)).trim().to_owned();
    vec![Leaf { path, name }]
}

/// Every path in the code with at least two parts.
fn paths(code: &str) -> Vec<Vec<String>> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    for run in code.split(|letter: char| !is_word(letter) && letter != ':') {
        let parts: Vec<String> = run.split("::").map(str::to_owned).collect();
        let is_path = parts.len() > 1 && parts.iter().all(|part| !part.is_empty() && !part.contains(':'));
        if is_path {
            found.push(parts);
        }
    }
    found
}

#[test]
fn no_crate_has_an_import_cycle() {
    let mut failures = Vec::new();
    for krate in crate::arrows::crate_folders() {
        let sources = Sources::read(&krate.join("src"));
        let name = krate.display();
        assert!(!sources.0.is_empty(), "{name} has no sources");
        failures.extend(sources.cycles().into_iter().map(|cycle| format!("{name}: {cycle:?}")));
    }
    assert!(failures.is_empty(), "import cycles: {failures:#?}");
}

/// The files of a crate in a temporary folder.
fn crate_of(files: &[(&str, &str)]) -> BTreeSet<BTreeSet<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, code) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, code).expect("a file");
    }
    Sources::read(folder.path()).cycles()
}

#[test]
fn a_cycle_is_found_however_it_is_written() {
    let cycle = |names: &[&str]| BTreeSet::from([names.iter().map(|name| (*name).to_owned()).collect()]);
    let lib = ("lib.rs", "mod a;\nmod b;\npub use self::b::B;\npub struct Root;\n");
    for (a, b) in [
        ("use crate::b::B;", "use crate::a::A;"),
        ("use super::b::{self, B};", "use super::{\n    a::{A, C},\n};"),
        // Through the re-export of the root.
        ("use crate::B;", "fn f() -> crate::a::A { todo!() }"),
        ("fn f(b: super::b::B) {}", "pub(crate) fn g(a: crate::a::A) {}"),
    ] {
        assert_eq!(crate_of(&[lib, ("a.rs", a), ("b.rs", b)]), cycle(&["a", "b"]), "{a} {b}");
    }
    let parent = ("p/mod.rs", "mod c;\npub struct P;\nfn f() { c::g() }");
    let child = ("p/c.rs", "use super::P;\npub(super) fn g() {}");
    assert_eq!(crate_of(&[("lib.rs", "mod p;"), parent, child]), cycle(&["p", "p/c"]));
    let root = ("a.rs", "use crate::Root;");
    let uses_a = ("lib.rs", "mod a;\npub struct Root;\nfn f() { a::g() }");
    assert_eq!(crate_of(&[uses_a, root]), cycle(&["a", "lib"]));
}

#[test]
fn imports_in_one_direction_are_no_cycle() {
    let lib = ("lib.rs", "mod a;\nmod b;\npub use self::a::A;\npub use self::b::B;\n");
    for (a, b) in [
        ("use crate::B;", "// use crate::a::A;\npub struct B;"),
        ("use super::b::B;", "pub struct B;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n"),
        ("use other::b::B;\nuse crate::b::B;", "use other::a::A;"),
    ] {
        assert_eq!(crate_of(&[lib, ("a.rs", a), ("b.rs", b)]), BTreeSet::new(), "{a} {b}");
    }
}
