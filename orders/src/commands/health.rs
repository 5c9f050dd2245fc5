//! `orders health`: checks the readiness of a gateway, a processor or e-mail on this machine, for images without curl.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use reqwest::header::HeaderMap;
use subscriber_email::READER;
use tokio::net::lookup_host;
use url::Url;

use super::health_port::WORKER_HEADER;
use super::http_client::{TRUST_HINT, Timeout, Trust, certificate_problem, http_client};
use super::target::{below, of_context};
use crate::cli::{DEFAULT_METRICS_ADDR, HealthArgs, Role};
use crate::console;
use crate::error::Error;
use crate::values::{ListenAddr, connect_address, redacted};

/// Timeout of the request.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Succeeds if and only if `/readyz` responds with success.
pub(super) async fn run(args: HealthArgs) -> Result<(), Error> {
    let (url, trust) = endpoint(&args).await?;
    let shown = Url::parse(&url).map_or_else(|_| "the URL".to_owned(), |url| redacted(&url));
    let unhealthy = |reason: String| Error::failed(format!("{shown} is not ready: {reason}"));
    let response = http_client(Timeout::Total(TIMEOUT), &trust)?.get(&url).send().await.map_err(|error| {
        if let Some(problem) = certificate_problem(&error) {
            return unhealthy(format!("its certificate is not accepted: {problem}")).hint(TRUST_HINT);
        }
        unhealthy(match error.is_timeout() {
            true => format!("no response within {} s", TIMEOUT.as_secs()),
            false => "connection refused or closed".to_owned(),
        })
    })?;
    match args.role {
        Role::Gateway => {}
        Role::Processor => {
            check_worker(response.headers(), args.worker_id.as_deref()).map_err(unhealthy)?;
        }
        Role::Email => check_worker(response.headers(), Some(READER)).map_err(unhealthy)?,
    }
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    if !status.is_success() {
        return Err(unhealthy(format!("{status} {text}")));
    }
    console::print(&format!("{}\n", text.trim_end()))
}

/// Returns the URL to check, and the authorities for it.
async fn endpoint(args: &HealthArgs) -> Result<(String, Trust), Error> {
    if let Some(name) = &args.context {
        let (url, trust) = of_context(name, &args.ca)?;
        return Ok((below(&url, "/readyz").to_string(), trust));
    }
    let trust = Trust::from(&args.ca);
    if let Some(url) = &args.url {
        return Ok((path_or_readyz(url.expose_secret()), trust));
    }
    match args.role {
        Role::Gateway => {
            let is_https = args.http_tls.is_on();
            let scheme = if is_https { "https" } else { "http" };
            // A certificate has rarely the name of the loopback address, and this check is not worth a secret.
            let trust = if is_https && args.ca.ca.is_none() { Trust::ThisMachine } else { trust };
            let addr = args.http.http_addr.as_str();
            Ok((readyz_url(scheme, addr, "--http-addr (ORDERS_HTTP_ADDR)").await?, trust))
        }
        Role::Processor | Role::Email => {
            let has_name = args.worker_id.is_some() || args.role == Role::Email;
            if args.metrics.metrics_addr.is_none() && !has_name {
                check_single_processor(count_processors())?;
            }
            let addr = args.metrics.metrics_addr.as_ref().map_or(DEFAULT_METRICS_ADDR, ListenAddr::as_str);
            Ok((readyz_url("http", addr, "--metrics-addr (ORDERS_METRICS_ADDR)").await?, trust))
        }
    }
}

/// Checks that at most one processor runs. The default address belongs to the first one, and the others use free ports,
/// so several are ambiguous without a name or an address.
fn check_single_processor(processors: usize) -> Result<(), Error> {
    if processors < 2 {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{processors} processors run on this machine, and the response could be from any of them"
    ))
    .hint(
        "name the one that is meant with --worker-id (ORDERS_WORKER_ID) or its address with --metrics-addr \
         (ORDERS_METRICS_ADDR)",
    ))
}

/// Counts the processors of this program on this machine, among the visible processes.
fn count_processors() -> usize {
    let own = std::env::current_exe().ok();
    let Some(program) = own.as_deref().and_then(Path::file_name) else { return 0 };
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let command_lines =
        processes.flatten().filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    command_lines.filter(|line| is_processor(line, program)).count()
}

/// Checks whether a command line, whose words end with NUL, is that of a processor.
fn is_processor(command_line: &[u8], program: &OsStr) -> bool {
    let mut words = command_line.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let is_program = words.next().and_then(|word| Path::new(word).file_name()) == Some(program);
    is_program && words.next().is_some_and(|word| word == "processor")
}

/// Checks that the expected processor has responded: the default port can belong to another one.
fn check_worker(headers: &HeaderMap, wanted: Option<&str>) -> Result<(), String> {
    let found = headers.get(WORKER_HEADER).and_then(|name| name.to_str().ok());
    match (found, wanted) {
        (None, _) => Err("the response is not from a processor of this program".to_owned()),
        (Some(found), Some(wanted)) if found != wanted => Err(format!(
            "the response is from worker {found}, not {wanted}: set its address with --metrics-addr"
        )),
        (Some(_), _) => Ok(()),
    }
}

/// Returns the URL of the check. A URL without a path gets `/readyz`, because the start page does not show health.
fn path_or_readyz(url: &Url) -> String {
    let mut url = url.clone();
    if url.path() == "/" {
        url.set_path("/readyz");
    }
    url.to_string()
}

async fn readyz_url(scheme: &str, addr: &str, setting: &str) -> Result<String, Error> {
    let found = lookup_host(addr).await.ok().and_then(|mut found| found.next());
    let addr = found.ok_or_else(|| {
        Error::failed(format!("cannot find the address {addr}")).hint(format!("it is from {setting}"))
    })?;
    if addr.port() == 0 {
        return Err(Error::usage(format!("{setting} is port 0, which can be any port"))
            .hint("give the URL: orders health http://127.0.0.1:PORT/readyz"));
    }
    Ok(format!("{scheme}://{}/readyz", connect_address(addr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_of_another_worker_is_an_error() {
        let headers = |name: &'static str| HeaderMap::from_iter([(WORKER_HEADER, name.parse().unwrap())]);
        assert!(check_worker(&headers("a"), None).is_ok());
        assert!(check_worker(&headers("a"), Some("a")).is_ok());
        assert!(check_worker(&headers("a"), Some("b")).unwrap_err().contains("from worker a"));
        assert!(check_worker(&HeaderMap::new(), None).unwrap_err().contains("not from a processor"));
    }

    #[test]
    fn several_processors_require_a_name() {
        for (line, is) in [
            (&b"/usr/bin/orders\0processor\0--handler\0webhook\0"[..], true),
            (b"orders\0processor\0", true),
            (b"orders\0gateway\0", false),
            (b"orders\0health\0--role\0processor\0", false),
            (b"other\0processor\0", false),
            (b"", false),
        ] {
            assert_eq!(is_processor(line, OsStr::new("orders")), is, "{line:?}");
        }
        assert!(check_single_processor(0).is_ok() && check_single_processor(1).is_ok());
        assert!(check_single_processor(2).unwrap_err().to_string().contains("2 processors"));
    }

    #[test]
    fn url_without_path_gets_readyz() {
        for (given, asked) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000/readyz"),
            ("http://127.0.0.1:3000/", "http://127.0.0.1:3000/readyz"),
            ("http://127.0.0.1:3000/livez", "http://127.0.0.1:3000/livez"),
        ] {
            assert_eq!(path_or_readyz(&Url::parse(given).unwrap()), asked);
        }
    }
}
