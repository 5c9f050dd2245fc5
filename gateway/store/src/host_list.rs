//! The hosts of a database's URL: `mysql://user:password@h1:3306,h2:3307/database`.
//!
//! The list is divided before the URL is parsed, because a URL of the standard has one host. What is between two commas
//! may be a part of a password that is not encoded, so no message contains it.

use url::Url;

use super::mysql_url::{BadUrl, bad, mysql};

/// Maximum number of hosts in the URL of a database.
pub const MAX_DATABASE_HOSTS: usize = 8;

/// Returns a URL for each host, alike in every other part. There is at least one.
pub(super) fn split(text: &str) -> Result<Vec<Url>, BadUrl> {
    let written = of_each_host(text)?;
    if written.len() == 1 {
        return Ok(vec![mysql(text)?]);
    }
    let mut urls: Vec<Url> = Vec::with_capacity(written.len());
    for (n, text) in (1..).zip(written) {
        let url = mysql(&text).map_err(|error| BadUrl {
            problem: format!("is wrong at host {n} of its list: it {}", error.problem),
            hint: error.hint,
        })?;
        if urls.iter().any(|other| shown(other).eq_ignore_ascii_case(&shown(&url))) {
            return Err(bad(format!("names host {n} of its list twice"), "name each server once"));
        }
        if url.query_pairs().any(|(name, _)| name == "socket") {
            return Err(bad(
                "has a socket and several hosts",
                "remove the option socket, which leads to one server, or the other hosts",
            ));
        }
        urls.push(url);
    }
    Ok(urls)
}

/// Returns the URL for each host, as it is written, of a URL that can be used.
///
/// # Errors
/// [`BadUrl`].
pub fn database_hosts(text: &str) -> Result<Vec<String>, BadUrl> {
    split(text)?;
    of_each_host(text)
}

fn of_each_host(text: &str) -> Result<Vec<String>, BadUrl> {
    let parts = text.split_once("://").map(|(scheme, rest)| {
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        (scheme, user, hosts, tail)
    });
    let Some((scheme, user, hosts, tail)) = parts.filter(|(_, _, hosts, _)| hosts.contains(',')) else {
        return Ok(vec![text.to_owned()]);
    };
    let count = hosts.split(',').count();
    if count > MAX_DATABASE_HOSTS {
        return Err(bad(
            format!("names {count} hosts"),
            format!("name at most {MAX_DATABASE_HOSTS}: the servers of one cluster"),
        ));
    }
    let url = |(n, host): (usize, &str)| match host {
        "" => Err(bad(format!("has no host at place {n} of its list"), "remove the comma")),
        host => Ok(format!("{scheme}://{user}{host}{tail}")),
    };
    (1..).zip(hosts.split(',')).map(url).collect()
}

/// Returns the host and the port of a URL, for messages.
pub(super) fn shown(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(3306))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_hosts_becomes_one_url_for_each() {
        let hosts = |text: &str| -> Vec<String> { split(text).unwrap().iter().map(Url::to_string).collect() };
        assert_eq!(
            hosts("mysql://u:a%2Cb@h1:3307,h2,[::1]:3308/d?sslmode=required"),
            [
                "mysql://u:a%2Cb@h1:3307/d?ssl-mode=REQUIRED",
                "mysql://u:a%2Cb@h2/d?ssl-mode=REQUIRED",
                "mysql://u:a%2Cb@[::1]:3308/d?ssl-mode=REQUIRED"
            ]
        );
        assert_eq!(hosts("mariadb://h1,h2/d").len(), 2);
        // Commas elsewhere separate no hosts.
        for one in
            ["mysql://u:a,b@h/d", "mysql://u:p@h/a,b", "mysql://u:p@h/d?ssl-mode=VERIFY_CA&ssl-ca=/a,b"]
        {
            assert_eq!(hosts(one).len(), 1, "{one}");
        }
    }

    #[test]
    fn a_wrong_list_is_explained_without_its_parts() {
        let nine = format!("mysql://u:p@{}/d", ["h"; 9].join(","));
        for (text, problem, hint) in [
            ("mysql://u:secret@a,,b/d", "place 2", "comma"),
            ("mysql://u:secret@a,b,/d", "place 3", "comma"),
            ("mysql://u:secret@a,A:3306/d", "host 2 of its list twice", "once"),
            ("mysql://u:secret@a:x,b/d", "host 1", "mysql://"),
            ("mysql://u:secret@a,b:99999/d", "host 2", "mysql://"),
            ("mysql://u:secret@a,b", "host 1", "mysql://"),
            ("mysql://u:secret@a,b/d?socket=/s", "socket", "remove"),
            ("mysql://u:secret@a,b/d?tls=true", "tls", "ssl-mode"),
            // The password contains a comma and a slash that are not encoded.
            ("mysql://u:secret,secret/x@a/d", "host 1", "percent-encode"),
            (&nine, "9 hosts", "at most 8"),
        ] {
            let error = split(text).expect_err(text);
            assert!(error.problem.contains(problem) && error.hint.contains(hint), "{text}: {error:?}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn the_limit_is_documented() {
        limits_page::row("hosts in the URL of a database", &MAX_DATABASE_HOSTS.to_string());
    }
}
