//! The parts of a URL that names a database on a server.
//!
//! Other programs write their own options into such URLs. An unknown option is refused and never ignored: a URL with
//! `tls=true` must not lead to a connection without TLS.

use url::Url;

/// Why a URL cannot be used, without its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadUrl {
    /// Continues "the database URL …".
    pub problem: String,
    /// What to do instead.
    pub hint: String,
}

pub(super) const FORMS: &str = "use mysql://user:password@host:3306/database (MySQL, MariaDB; several hosts with commas; \
    percent-encode special characters of the password) or sqlite:path/of/file.db";
const OPTIONS: &str =
    "the options are ssl-mode, ssl-ca, ssl-cert, ssl-key, socket and statement-cache-capacity";
const TLS: &str = "choose with ssl-mode=DISABLED, PREFERRED (default), REQUIRED, VERIFY_CA or VERIFY_IDENTITY; ssl-ca=FILE \
    names the certificate authority for the last two";

/// Options that the driver knows: in lower case without `-` and `_`, as other programs may write them, and in the form
/// of the driver.
const KNOWN: [(&str, &str); 6] = [
    ("sslmode", "ssl-mode"),
    ("sslca", "ssl-ca"),
    ("sslcert", "ssl-cert"),
    ("sslkey", "ssl-key"),
    ("socket", "socket"),
    ("statementcachecapacity", CAPACITY),
];
pub(super) const CAPACITY: &str = "statement-cache-capacity";
/// Options that the program sets itself, whatever the URL contains.
const OWN: [&str; 4] = ["charset", "collation", "characterset", "characterencoding"];
const SSL_MODES: [&str; 5] = ["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"];

pub(super) fn bad(problem: impl Into<String>, hint: impl Into<String>) -> BadUrl {
    BadUrl { problem: problem.into(), hint: hint.into() }
}

/// Checks a URL of the form `mysql://user:password@host:port/database?option=value`, with one host.
///
/// The result has only options that the driver knows, in the driver's form.
pub(super) fn mysql(text: &str) -> Result<Url, BadUrl> {
    let mut url = Url::parse(text).map_err(|error| bad(format!("cannot be read: {error}"), FORMS))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("has no host", FORMS));
    }
    let name = url.path().trim_matches('/');
    if name.is_empty() {
        return Err(bad("is without the name of the database", FORMS));
    }
    if name.contains('/') {
        return Err(bad("has more than the name of a database behind the host", FORMS));
    }
    if url.fragment().is_some() {
        return Err(bad(
            "has a part behind #",
            "remove it, or write # as %23 where it is part of the password",
        ));
    }
    let options = options(&url)?;
    check_tls(&options)?;
    let mut pairs = url.query_pairs_mut();
    pairs.clear();
    for (name, value) in &options {
        pairs.append_pair(name, value);
    }
    drop(pairs);
    Ok(url)
}

fn options(url: &Url) -> Result<Vec<(&'static str, String)>, BadUrl> {
    let mut options: Vec<(&'static str, String)> = Vec::new();
    for (name, value) in url.query_pairs() {
        let plain: String =
            name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect();
        if OWN.contains(&plain.as_str()) {
            continue;
        }
        let Some((_, known)) = KNOWN.into_iter().find(|(known, _)| *known == plain) else {
            // A part that does not look like a name may belong to the password.
            let is_name = name.len() <= 40 && plain.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let named = if is_name { format!("the option {name}") } else { "an option".to_owned() };
            return Err(bad(format!("has {named}, which this program does not know"), instead(&plain)));
        };
        if options.iter().any(|(name, _)| *name == known) {
            return Err(bad(format!("has the option {known} twice"), "write it once"));
        }
        let value = match known {
            "ssl-mode" => ssl_mode(&value)?,
            CAPACITY if value.parse::<usize>().is_err() => {
                return Err(bad(format!("has a {known} that is not a number"), "remove it"));
            }
            _ if value.is_empty() => {
                return Err(bad(format!("has the option {known} without a value"), OPTIONS));
            }
            _ => value.into_owned(),
        };
        options.push((known, value));
    }
    Ok(options)
}

fn ssl_mode(value: &str) -> Result<String, BadUrl> {
    let mode = value.to_ascii_uppercase().replace('-', "_");
    if SSL_MODES.contains(&mode.as_str()) { Ok(mode) } else { Err(bad("has an unknown ssl-mode", TLS)) }
}

/// Refuses files that the mode does not use: the driver would ignore them.
fn check_tls(options: &[(&'static str, String)]) -> Result<(), BadUrl> {
    let value = |wanted| options.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
    let mode = value("ssl-mode").unwrap_or("PREFERRED");
    if value("ssl-ca").is_some() && !mode.starts_with("VERIFY") {
        return Err(bad(format!("has ssl-ca, which ssl-mode={mode} does not use"), TLS));
    }
    let (certificate, key) = (value("ssl-cert").is_some(), value("ssl-key").is_some());
    if certificate != key {
        return Err(bad("has one of ssl-cert and ssl-key", "a client certificate needs both"));
    }
    if certificate && matches!(mode, "DISABLED" | "PREFERRED") {
        return Err(bad(format!("has ssl-cert, and ssl-mode={mode} may connect without TLS"), TLS));
    }
    Ok(())
}

/// Returns a hint for an option of another program.
fn instead(plain: &str) -> String {
    match plain {
        _ if plain.contains("rootcert") || plain.contains("capath") || plain.contains("truststore") => {
            format!("use ssl-mode=VERIFY_CA or VERIFY_IDENTITY with ssl-ca=FILE; {OPTIONS}")
        }
        _ if plain.contains("ssl") || plain.contains("tls") || plain.contains("verifyservercert") => {
            format!("{TLS}; {OPTIONS}")
        }
        "connectionlimit" | "maxpoolsize" | "poolsize" | "minpoolsize" | "maxconnections"
        | "poolmaxconns" => "remove it and use --database-pool-size (ORDERS_DATABASE_POOL_SIZE)".to_owned(),
        "timezone" | "servertimezone" | "loc" | "parsetime" => {
            "remove it: all times are in UTC, whatever the zone of the server".to_owned()
        }
        "allowpublickeyretrieval"
        | "getserverpublickey"
        | "allownativepasswords"
        | "allowcleartextpasswords" => {
            format!("remove it: passwords are sent over TLS; {TLS}")
        }
        _ => format!("remove it: {OPTIONS}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_other_programs_are_refused_or_understood() {
        let query = |options: &str| {
            mysql(&format!("mysql://u:p@h/d?{options}")).map(|url| url.query().unwrap_or_default().to_owned())
        };
        for (given, honoured) in [
            ("ssl-mode=REQUIRED", "ssl-mode=REQUIRED"),
            ("sslMode=verify_ca&ssl_ca=/a", "ssl-mode=VERIFY_CA&ssl-ca=%2Fa"),
            ("SSLMODE=verify-identity", "ssl-mode=VERIFY_IDENTITY"),
            ("ssl_mode=disabled", "ssl-mode=DISABLED"),
        ] {
            assert_eq!(query(given), Ok(honoured.to_owned()), "{given}");
        }
        for own in ["charset=utf8", "charset=latin1&collation=latin1_bin", "characterEncoding=utf8"] {
            assert_eq!(query(own), Ok(String::new()), "{own}");
        }
        for (refused, hint) in [
            ("ssl=true", "ssl-mode=DISABLED"),
            ("useSSL=false", "ssl-mode"),
            ("tls=skip-verify", "ssl-mode"),
            ("sslaccept=strict", "ssl-mode"),
            ("requireSSL=1", "ssl-mode"),
            ("verifyServerCertificate=true", "ssl-mode"),
            ("sslrootcert=/a", "ssl-ca=FILE"),
            ("sslmode=require", "REQUIRED"),
            ("sslmode=verify-full", "VERIFY_IDENTITY"),
            ("ssl-mode=REQUIRED&sslMode=DISABLED", "once"),
            ("ssl-ca=/a", "VERIFY_CA"),
            ("ssl-mode=REQUIRED&ssl-ca=/a", "VERIFY_CA"),
            ("ssl-mode=VERIFY_CA&ssl-cert=/a", "both"),
            ("ssl-cert=/a&ssl-key=/b", "REQUIRED"),
            ("connection_limit=5", "--database-pool-size"),
            ("serverTimezone=UTC", "UTC"),
            ("allowPublicKeyRetrieval=true", "TLS"),
            ("pool_timeout=0", "remove it"),
            ("socket=", "socket"),
        ] {
            let error = query(refused).expect_err(refused);
            assert!(error.hint.contains(hint), "{refused}: {error:?}");
        }
        for url in ["mysql://u:p@h", "mysql://u:p@h/a/b", "mysql://u:p@h/d#x"] {
            mysql(url).expect_err(url);
        }
    }
}
