//! No input makes the parser of a setting or an argument panic.

use std::time::Duration;

use proptest::prelude::*;
use url::Url;

use super::*;

fn inputs() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "9999-12-31T23:59:59-00:01",
        "9999-12-31",
        "T23:59:59",
        "+00:01",
        "-",
        "/s",
        "18446744073709551616",
        "-0",
        "0.",
        "NaN",
        "30",
        "ms",
        "1h",
        "7d",
        "M",
        "KiB",
        "8",
        "EiB",
        ".5",
        "inf",
        "1e999",
        "127.0.0.1",
        "[::1]",
        ":",
        "0",
        "65536",
        "/33",
        "10.0.0.0/8",
        ",",
        "*",
        "https://",
        "mysql://",
        "sqlite:",
        "redis://",
        "unix:///",
        "user:pass@",
        "host",
        "?pass=x",
        "#",
        "%",
        "USD",
        "01890a5d-ac96-774b-bcce-b302099a8057",
        "é",
        "\u{0}",
        "",
    ]);
    prop_oneof![prop::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat()), any::<String>()]
}

proptest! {
    #[test]
    fn no_input_panics(text in inputs()) {
        if let Ok(Until::At(time)) = until(&text) {
            prop_assert_eq!(until(&time.to_string()), Ok(Until::At(time)));
        }
        let _ = (rate(&text), share(&text), order_id(&text), currency(&text), requester(&text));
        let _ = (ip_nets(&text), origins(&text), key_prefix(&text), worker_id(&text));
        if let Ok(time) = duration(Duration::ZERO, Duration::MAX)(&text) {
            prop_assert_eq!(duration(Duration::ZERO, Duration::MAX)(&show_duration(time)), Ok(time));
        }
        if let Ok(bytes) = size(0, u64::MAX)(&text) {
            prop_assert_eq!(size(0, u64::MAX)(&bytes.to_string()), Ok(bytes));
        }
        let _ = (number::<u32>(1..=1_000_000)(&text), number::<u64>(0..=u64::MAX)(&text));
        if let Ok(address) = text.parse::<ListenAddr>() {
            prop_assert_eq!(address.to_string(), text.clone());
        }
        let _ = (RedisUrl::parse(&text).map(|url| url.to_string()), redacted_text(&text));
        for url in [ServerUrl::http(&text), ServerUrl::gateway(&text)].into_iter().flatten() {
            let _ = url.to_string();
        }
        let _ = secret(&text);
        let _ = text.parse::<DatabaseUrl>().map(|url| url.to_string());
        let _ = Url::parse(&text).map(|url| redacted(&url));
    }
}

#[test]
fn time_past_the_year_9999_in_utc_is_refused() {
    let error = until("9999-12-31T23:59:59-00:01").unwrap_err();
    assert!(error.to_string().contains("to 9999-12-31T23:59:59.999999Z"), "{error}");
}
