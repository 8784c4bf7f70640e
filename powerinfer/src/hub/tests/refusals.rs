//! What is refused, with its reason, and leaves nothing behind.

use super::*;
use crate::hub::space::Space;

/// Pulls the only model from a server that answers so for its file.
fn refusal(
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> (HubError, Fixture, Server) {
    let files = one_model(&model_bytes(20_000, 1));
    let server = Server::start(move |request| {
        if request.is_for_file() { answer(request) } else { hub_answer(request, &files) }
    });
    let fixture = Fixture::with(|options| options.endpoint(&server.url).token("hf_secret"));
    let error = fixture.pull(SOURCE).unwrap_err();
    (error, fixture, server)
}

#[test]
fn a_flipped_byte_is_seen_and_the_file_not_kept() {
    let mut bytes = model_bytes(20_000, 1);
    bytes[12_345] ^= 0x10;
    let (error, fixture, _server) = refusal(move |request| Answer::file(request, &bytes, "\"t\""));
    assert!(matches!(error, HubError::ChecksumMismatch { .. }), "{error}");
    assert_eq!(fixture.files("r"), [""; 0]);
    assert!(fixture.hub.find_whole("r").is_err());
}

#[test]
fn what_is_no_model_is_refused_at_its_first_bytes() {
    for (kind, body, wanted) in [
        ("text/html; charset=utf-8", "<!doctype html><title>Sign in</title>", "web page"),
        ("text/html", "Please sign in", "web page"),
        ("text/plain", "version https://git-lfs.github.com/spec/v1", "Git LFS"),
        ("application/json", "{\"error\":\"busy\"}", "\"{\\\"er\""),
        ("application/octet-stream", "ggml", "\"ggml\""),
        ("application/octet-stream", "", "empty"),
    ] {
        let server = Server::start(move |_| Answer::new(200, body).header("content-type", kind));
        let fixture = Fixture::new(&server);
        let error = fixture.pull(&format!("{}/x.gguf", server.url)).unwrap_err();
        assert!(matches!(error, HubError::WrongContent { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(wanted) && text.contains("GGUF"), "{text}");
        assert_eq!(fixture.files("x"), [""; 0]);
        assert_eq!(server.requests().len(), 1, "no second try");
    }
}

#[test]
fn a_page_of_the_wrong_size_is_refused_before_it_comes() {
    let (error, fixture, _server) = refusal(|_| Answer::new(200, "<html>"));
    assert!(matches!(error, HubError::SizeMismatch { wanted: 20_000, found: 6, .. }), "{error}");
    assert_eq!(fixture.files("r"), [""; 0]);
}

#[test]
fn a_no_of_the_server_is_final_and_says_what_to_do() {
    for (status, code, wanted) in [
        (404, "", "nothing there"),
        (404, "EntryNotFound", "no such file"),
        (404, "RevisionNotFound", "no such revision"),
        (401, "RepoNotFound", "no such repository"),
        (401, "", "HF_TOKEN to a token that is valid (one was sent)"),
        (403, "", "HF_TOKEN to a token that may read it (one was sent)"),
        (401, "GatedRepo", "/o/r is gated: ask for access"),
        (403, "GatedRepo", "/o/r is gated: ask for access"),
        (418, "", "found status 418"),
    ] {
        let (error, fixture, server) =
            refusal(move |_| Answer::new(status, "no").header("x-error-code", code));
        let text = error.to_string();
        assert!(text.contains(wanted), "{status} {code}: {text}");
        assert!(!text.contains("hf_secret"), "{text}");
        assert_eq!(server.file_requests().len(), 1, "{status}: no second try");
        assert!(fixture.hub.find_whole("r").is_err());
    }
}

#[test]
fn a_server_in_trouble_is_tried_so_often_and_a_long_wait_is_refused() {
    let (error, _, server) = refusal(|_| Answer::new(500, ""));
    assert!(matches!(error, HubError::GaveUp { tries: 5, done: 0, .. }), "{error}");
    assert!(error.to_string().contains("500"), "{error}");
    assert_eq!(server.file_requests().len(), 5);
    let (error, _, server) = refusal(|_| Answer::new(429, "").header("retry-after", "86400"));
    assert!(matches!(error, HubError::GaveUp { tries: 1, .. }), "{error}");
    assert_eq!(server.file_requests().len(), 1);
}

#[test]
fn a_dead_server_is_an_error_that_names_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let fixture = Fixture::with(|options| options.endpoint(&url));
    let error = fixture.pull(SOURCE).unwrap_err();
    assert!(matches!(error, HubError::GaveUp { .. }), "{error}");
    assert!(error.to_string().contains(&url), "{error}");
}

#[test]
fn redirects_in_circles_or_to_nowhere_are_refused() {
    for location in ["/round", "ftp://h/x", "http://192.0.2.1/x"] {
        let (error, _, server) =
            refusal(move |_| Answer::new(302, "").header("location", location));
        assert!(matches!(error, HubError::Redirect { .. }), "{location}: {error}");
        assert!(server.file_requests().len() <= 11, "{location}");
    }
}

#[test]
fn a_file_that_is_not_the_listed_one_is_refused_before_it_comes() {
    let other = model_bytes(20_000, 2);
    let tag = digits(&other);
    let (error, fixture, _server) = refusal(move |request| {
        Answer::file(request, &other, "\"t\"").header("x-linked-etag", tag.clone())
    });
    assert!(matches!(error, HubError::Changed { .. }), "{error}");
    assert_eq!(fixture.files("r"), [""; 0]);
}

#[test]
fn a_wanted_digest_that_the_hub_does_not_have_is_refused_before_any_file_comes() {
    let server = Server::hub(one_model(&model_bytes(20_000, 1)));
    let fixture = Fixture::new(&server);
    let digest = Checksum::parse(Some(&format!("sha256:{}", digits(b"other")))).unwrap().unwrap();
    let error = fixture.pull_with(SOURCE, &PullOptions::default().checksum(digest)).unwrap_err();
    assert!(matches!(error, HubError::ChecksumMismatch { .. }), "{error}");
    assert!(server.file_requests().is_empty());
}

#[test]
fn a_full_disk_is_known_before_and_nothing_is_asked_for() {
    let model = model_bytes(20_000, 1);
    let server = Server::hub(one_model(&model));
    let mut fixture = Fixture::new(&server);
    fixture.hub.space = |folder| Space { folder: folder.to_owned(), available: |_| Ok(64 << 20) };
    let error = fixture.pull(SOURCE).unwrap_err();
    let HubError::NoSpace { needed, available, .. } = error else { panic!("{error}") };
    assert_eq!((needed, available), (20_000 + (64 << 20), 64 << 20));
    assert!(server.file_requests().is_empty());
    let error = fixture.pull(&format!("{}/o/r/resolve/main/m.powerinfer.gguf", server.url));
    assert!(matches!(error, Err(HubError::NoSpace { .. })), "the server tells the size: {error:?}");
}

#[test]
fn several_models_and_none_are_questions() {
    let two = vec![remote("a.gguf", b"GGUF a"), remote("b.gguf", b"GGUF b")];
    let server = Server::hub(two);
    let fixture = Fixture::new(&server);
    let error = fixture.pull(SOURCE).unwrap_err().to_string();
    assert!(error.contains("hf://o/r/b.gguf  (6 bytes)"), "{error}");
    fixture.pull("hf://o/r/b.gguf").unwrap();
    assert_eq!(fixture.files("b"), ["model.gguf", "policy.yaml"]);
    let server = Server::hub(vec![remote("config.json", b"{}")]);
    let error = Fixture::new(&server).pull(SOURCE).unwrap_err();
    assert!(matches!(error, HubError::NoModelFile { .. }), "{error}");
    let server = Server::start(|_| Answer::new(200, "<html>"));
    let error = Fixture::new(&server).pull(SOURCE).unwrap_err();
    assert!(matches!(error, HubError::Listing { .. }), "{error}");
}

#[test]
fn offline_nothing_is_fetched_and_what_is_here_is_found() {
    let server = Server::hub(one_model(&model_bytes(20_000, 1)));
    let fixture = Fixture::new(&server);
    let options = HubOptions::new(fixture.hub.folder()).endpoint(&server.url).offline(true);
    let offline = Fixture { hub: Hub::new(options), _folder: tempfile::tempdir().unwrap() };
    let error = offline.pull(SOURCE).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    assert!(server.requests().is_empty());
    fixture.pull(SOURCE).unwrap();
    assert_eq!(offline.events(SOURCE), ["present"]);
}

#[test]
fn names_that_are_unknown_or_lead_elsewhere_are_refused() {
    let fixture = Fixture::with(|options| options.endpoint("http://127.0.0.1:1"));
    let error = fixture.pull("bambo-7b-dpo").unwrap_err().to_string();
    assert!(error.contains("did you mean `bamboo-7b-dpo`?"), "{error}");
    let error = fixture.pull("turbosparse-mixtral-47b").unwrap_err();
    assert!(matches!(error, HubError::NoRepository { .. }), "{error}");
    for name in ["..", "../x", "/x", "a/b", ""] {
        let options = PullOptions::default().name(name);
        let error = fixture.pull_with(SOURCE, &options).unwrap_err();
        assert!(matches!(error, HubError::Name { .. }), "{name}: {error}");
        assert!(fixture.hub.find(name).is_err() && fixture.hub.remove(name).is_err(), "{name}");
    }
    assert!(!fixture.hub.folder().exists(), "nothing was begun");
}
