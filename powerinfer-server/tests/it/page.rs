//! The page at `/`, as it comes over the wire; what it does is tested with a browser.

use std::sync::mpsc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use powerinfer_server::{ApiKeys, ServerOptions};
use reqwest::StatusCode;
use sha2::{Digest as _, Sha256};

use crate::support::{Running, served};

/// What stands between two marks, which are there once.
fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    assert_eq!(text.matches(start).count(), 1, "{start}");
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once(end).unwrap().0
}

#[tokio::test]
async fn the_page_runs_only_what_its_policy_names() {
    let server = Running::new().await;
    let response = server.get("/").await;
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers().clone();
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["cache-control"], "no-cache");
    let policy = headers["content-security-policy"].to_str().unwrap();
    let page = response.text().await.unwrap();
    for (directive, text) in [
        ("script-src", between(&page, "<script type=\"module\">", "</script>")),
        ("style-src", between(&page, "<style>", "</style>")),
    ] {
        assert!(text.len() > 1000, "{directive}");
        let wanted =
            format!("{directive} 'sha256-{}';", BASE64_STANDARD.encode(Sha256::digest(text)));
        assert!(policy.contains(&wanted), "{wanted} {policy}");
    }
    for directive in ["default-src 'none';", "connect-src 'self';", "frame-ancestors 'none';"] {
        assert!(policy.contains(directive), "{directive} {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn the_page_is_small_and_needs_nothing_else() {
    let server = Running::new().await;
    let page = server.get("/").await.text().await.unwrap();
    assert!(page.len() < 40_000, "{} bytes", page.len());
    // The name of SVG is no address.
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http:", "https:", "//cdn", "src=", "@import", "url(", "import "] {
        assert!(!page.contains(outside), "{outside}");
    }
    for html in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
        assert!(!page.contains(html), "{html}");
    }
    assert!(!page.contains("{{"), "nothing is left to fill in");
}

#[tokio::test]
async fn the_page_is_for_everyone_and_also_while_the_model_loads() {
    let (go, wait) = mpsc::channel::<()>();
    let mut options = ServerOptions::default();
    options.keys = ApiKeys::new(["secret"]);
    let load = move || {
        let _ = wait.recv();
        Ok(served())
    };
    let server = Running::start(options, load).await;
    assert_eq!(server.get("/").await.status(), StatusCode::OK);
    go.send(()).unwrap();
    server.wait_for("/health", StatusCode::OK).await;
    assert_eq!(server.get("/").await.status(), StatusCode::OK);
    assert_eq!(server.get("/v1/models").await.status(), StatusCode::UNAUTHORIZED);
}
