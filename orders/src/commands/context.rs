//! `orders context`: stores, selects, lists and removes names for gateways and the keys for them.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use gateway::access::Key;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::cli::{ContextCommand, SetContextArgs, read_token_file};
use crate::console;
use crate::contexts::{self, Context, Contexts, Credential, MAX_TOKEN_BYTES};
use crate::error::Error;
use crate::output::{Column, Format, Item, Layout, print_list, text};
use crate::values::{self, ContextName};

const LAYOUT: Layout = Layout {
    id: "name",
    none: "no contexts are stored",
    columns: &[
        Column::new("CURRENT", |context| if context["current"] == true { "*" } else { "" }.to_owned()),
        Column::new("NAME", |context| text(context, "name")),
        Column::new("URL", |context| text(context, "url")),
        Column::new("KEY", shown_credential),
        Column::new("CA", |context| text(context, "ca")),
    ],
};

/// Runs the command.
pub(super) fn run(command: ContextCommand) -> Result<(), Error> {
    let file = contexts::location()?;
    match command {
        ContextCommand::Set(args) => set(&file, args),
        ContextCommand::Use(args) => {
            let url = contexts::update(&file, |contexts| {
                let url = contexts.get(&args.name)?.url.clone();
                contexts.current = Some(args.name.clone());
                Ok(url)
            })?;
            console::print(&format!("the current context is {}: {url}\n", args.name))
        }
        ContextCommand::List(args) => list(&contexts::read(&file)?, args.format.format()),
        ContextCommand::Remove(args) => {
            let was_current = contexts::update(&file, |contexts| remove(contexts, &args.name))?;
            let then = if was_current { "; no context is current" } else { "" };
            console::print(&format!("the context {} is removed{then}\n", args.name))
        }
    }
}

fn set(file: &Path, args: SetContextArgs) -> Result<(), Error> {
    // Before the lock: to read a key can take long.
    let ca = args.ca.as_deref().map(checked_authorities).transpose()?;
    let credential = match (&args.token_file, args.token_stdin) {
        (Some(file), _) => {
            let file = absolute("--token-file", file)?;
            check_token(read_token_file(&file, "--token-file")?, "--token-file")?;
            Some(Credential::File(file))
        }
        (None, true) => Some(Credential::Token(token_of_stdin()?)),
        (None, false) => None,
    };
    let is_current = contexts::update(file, |contexts| {
        let changed = changed(contexts.by_name.get(&args.name), &args, ca, credential)?;
        contexts.by_name.insert(args.name.clone(), changed);
        Ok(contexts.current.as_ref() == Some(&args.name))
    })?;
    console::print(&format!("the context {} is stored\n", args.name))?;
    if !is_current {
        console::explain(&format!("`orders context use {}` makes it the current one\n", args.name));
    }
    Ok(())
}

/// Returns the context with the changes. The key and the authorities of another URL are not kept: a changed address
/// must not receive the key.
fn changed(
    before: Option<&Context>,
    args: &SetContextArgs,
    ca: Option<PathBuf>,
    credential: Option<Credential>,
) -> Result<Context, Error> {
    let Some(url) = args.url.clone().or_else(|| before.map(|context| context.url.clone())) else {
        return Err(Error::usage(format!("the context {} does not exist, and --url is missing", args.name))
            .hint("give the address of its gateway: --url https://orders.example.com"));
    };
    let kept = before.filter(|context| context.url == url);
    let ca = ca.or_else(|| kept?.ca.clone());
    let credential = credential.or_else(|| kept?.credential.clone());
    Ok(Context { url, ca, credential })
}

/// Removes a context, and returns whether it was the current one.
fn remove(contexts: &mut Contexts, name: &ContextName) -> Result<bool, Error> {
    contexts.get(name)?;
    contexts.by_name.remove(name);
    Ok(contexts.current.take_if(|current| current == name).is_some())
}

fn checked_authorities(file: &Path) -> Result<PathBuf, Error> {
    let file = absolute("--ca", file)?;
    tls::read_authorities(&file).map_err(|error| {
        Error::usage(format!("--ca: {error}")).hint("name a file with certificates in PEM form")
    })?;
    Ok(file)
}

/// Returns the absolute path, because other commands run in other folders.
fn absolute(setting: &str, file: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(file).map_err(|error| {
        Error::usage(format!("{setting} is {:?}: {error}", file.display().to_string()))
            .hint("give the path of a file")
    })
}

fn token_of_stdin() -> Result<SecretString, Error> {
    let invalid = |problem: String| {
        Error::usage(format!("--token-stdin: {problem}")).hint(
            "write a key that `orders keys create` printed to standard input: --token-stdin < admin.key",
        )
    };
    let mut line = String::new();
    let mut stdin = std::io::stdin().lock().take(MAX_TOKEN_BYTES as u64 + 2);
    stdin.read_line(&mut line).map_err(|error| invalid(format!("standard input cannot be read: {error}")))?;
    check_token(values::secret(&line).map_err(|error| invalid(error.to_string()))?, "--token-stdin")
}

/// Refuses a mistyped API key, and what no gateway accepts.
fn check_token(token: SecretString, setting: &str) -> Result<SecretString, Error> {
    let content = token.expose_secret();
    let problem = match content {
        long if long.len() > MAX_TOKEN_BYTES => format!("it is longer than {MAX_TOKEN_BYTES} bytes"),
        key if key.starts_with("ord_") => match Key::parse(key) {
            Ok(_) => return Ok(token),
            Err(error) => format!("it is {error}"),
        },
        _ => return Ok(token),
    };
    Err(Error::usage(format!("{setting}: {problem}")).hint("copy the whole key, or create another one"))
}

fn list(contexts: &Contexts, format: Format) -> Result<(), Error> {
    let item = |(name, context)| Item::from(to_json(name, context, contexts.current.as_ref()));
    let contexts: Vec<Item> = contexts.by_name.iter().map(item).collect();
    print_list(format, &LAYOUT, &contexts)
}

/// Returns the public part of the key, or where it is.
fn shown_credential(context: &Item) -> String {
    match (context["tokenFile"].as_str(), context["keyId"].as_str(), &context["hasToken"]) {
        (Some(file), ..) => format!("file {file}"),
        (None, Some(id), _) => format!("ord_{id}"),
        (None, None, has_token) if *has_token == true => "token".to_owned(),
        _ => "none".to_owned(),
    }
}

fn to_json(name: &ContextName, context: &Context, current: Option<&ContextName>) -> serde_json::Value {
    let token_file = match &context.credential {
        Some(Credential::File(file)) => Some(file.display().to_string()),
        Some(Credential::Token(_)) | None => None,
    };
    json!({
        "name": name.as_str(),
        "current": current == Some(name),
        "url": context.url.to_string(),
        "ca": context.ca.as_ref().map(|file| file.display().to_string()),
        "tokenFile": token_file,
        "hasToken": matches!(context.credential, Some(Credential::Token(_))),
        "keyId": context.credential.as_ref().and_then(Credential::key_id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: Option<&str>) -> SetContextArgs {
        let url = url.map(|url| values::context_url(url).unwrap());
        SetContextArgs { name: "a".parse().unwrap(), url, ca: None, token_file: None, token_stdin: false }
    }

    #[test]
    fn a_changed_url_does_not_get_the_key() {
        let context = Context {
            url: values::context_url("https://orders.example").unwrap(),
            ca: Some("/ca.crt".into()),
            credential: Some(Credential::File("/a.key".into())),
        };
        for url in [None, Some("https://orders.example"), Some("https://ORDERS.example:443/")] {
            let same = changed(Some(&context), &args(url), None, None).unwrap();
            assert_eq!(format!("{same:?}"), format!("{context:?}"), "{url:?}");
        }
        for url in [
            "https://other.example",
            "http://orders.example",
            "https://orders.example:444",
            "https://orders.example/x",
        ] {
            let moved = changed(Some(&context), &args(Some(url)), None, None).unwrap();
            assert!(moved.ca.is_none() && moved.credential.is_none(), "{url}");
        }
        let other = changed(Some(&context), &args(None), None, Some(Credential::Token("x".into()))).unwrap();
        assert_eq!(other.ca, context.ca);
        assert!(matches!(other.credential, Some(Credential::Token(_))));
        assert!(changed(None, &args(None), None, None).is_err());
    }

    #[test]
    fn lists_show_the_public_part_of_a_key() {
        let url = values::context_url("https://orders.example").unwrap();
        let key = Key::generate();
        for (credential, shown) in [
            (None, "none".to_owned()),
            (Some(Credential::File("/a.key".into())), "file /a.key".to_owned()),
            (Some(Credential::Token(key.expose().into())), format!("ord_{}", key.id())),
            (Some(Credential::Token("eyJ.hush.hush".into())), "token".to_owned()),
        ] {
            let context = Context { url: url.clone(), ca: None, credential };
            let name = "a".parse().unwrap();
            let json = to_json(&name, &context, Some(&name));
            assert_eq!(shown_credential(&json.clone().into()), shown);
            let json = json.to_string();
            assert!(!json.contains(key.expose()) && !json.contains("hush"), "{json}");
        }
        let mistyped = format!("{}x", key.expose());
        assert!(check_token(mistyped.into(), "--x").is_err());
        assert!(check_token(key.expose().into(), "--x").is_ok());
    }
}
