//! The little that is needed of addresses: whose they are, where redirects lead, how paths are spelt.

use std::fmt::Write as _;

/// Whether a text is an address of the web.
pub(super) fn is_http(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// Scheme, host and port: who is talked to. Empty for what is no address.
pub(super) fn origin(url: &str) -> &str {
    let Some(start) = url.find("://") else { return "" };
    let rest = &url[start + 3..];
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    &url[..start + 3 + end]
}

/// Whether nobody on the way can read or change what is sent: https, or this machine itself.
pub(super) fn is_private_enough(url: &str) -> bool {
    url.starts_with("https://") || is_this_machine(url)
}

/// Whether the server is on this machine.
pub(super) fn is_this_machine(url: &str) -> bool {
    let host = origin(url).split_once("://").map_or("", |(_, host)| host);
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let name =
        host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |parts| parts.0);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// Where a redirect from `base` to `location` leads.
pub(super) fn join(base: &str, location: &str) -> String {
    let origin = origin(base);
    if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        let scheme = base.split("//").next().unwrap_or("https:");
        format!("{scheme}{location}")
    } else if location.starts_with('/') {
        format!("{origin}{location}")
    } else {
        let path = base[origin.len()..].split(['?', '#']).next().unwrap_or("");
        let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
        format!("{origin}{folder}{location}")
    }
}

/// The address of a file where that of the page about it was given.
pub(super) fn without_blob(url: &str) -> String {
    let (path, query) = url.find(['?', '#']).map_or((url, ""), |end| url.split_at(end));
    format!("{}{query}", path.replacen("/blob/", "/resolve/", 1))
}

/// A path as it is spelt in addresses.
pub(super) fn encode(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// An address as it is told: what comes after `?` may be a key.
pub(super) fn shown(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_should() {
        let base = "https://h:1/a/b/c?d=/e";
        for (location, wanted) in [
            ("http://x/y", "http://x/y"),
            ("//x/y", "https://x/y"),
            ("/y", "https://h:1/y"),
            ("y?z", "https://h:1/a/b/y?z"),
        ] {
            assert_eq!(join(base, location), wanted);
        }
        assert_eq!(join("https://h", "y"), "https://h/y");
    }

    #[test]
    fn only_https_and_this_machine_are_private() {
        for url in ["https://h/x", "http://localhost/x", "http://127.0.0.1:8/x", "http://[::1]:8/"]
        {
            assert!(is_private_enough(url), "{url}");
        }
        for url in [
            "http://h/x",
            "http://localhost.evil.org/",
            "http://127.0.0.1@h/",
            "http://127.0.0.1:8@h/",
        ] {
            assert!(!is_private_enough(url), "{url}");
        }
        assert_eq!(origin("https://h:1/a?b"), "https://h:1");
        assert_eq!(origin("https://h?b"), "https://h");
        assert_eq!(origin("nothing"), "");
    }

    #[test]
    fn pages_become_files_and_paths_are_spelt() {
        let page = "https://h/o/r/blob/main/blob/x.gguf?y=/blob/";
        assert_eq!(without_blob(page), "https://h/o/r/resolve/main/blob/x.gguf?y=/blob/");
        assert_eq!(encode("a b/ü%.gguf"), "a%20b/%C3%BC%25.gguf");
        assert_eq!(shown("https://h/x?key=secret"), "https://h/x");
    }
}
