//! What a pull brings, and from whom.

use super::*;
use crate::policy::{CacheMode, ChecksumOutcome, Policy};

/// A repository with everything that belongs to a model, and something that does not.
fn whole_repository(model: &[u8]) -> Vec<RemoteFile> {
    let small = |path, bytes: &[u8]| RemoteFile { path, bytes: bytes.to_vec(), sha256: None };
    vec![
        small("README.md", b"# A model"),
        remote("activation/activation_0.pt", b"PK\x03\x04 zero"),
        small("activation/activation_1.pt", b"PK\x03\x04 one"),
        remote("m.powerinfer.gguf", model),
        small("m.powerinfer.gguf.generated.gpuidx", b"PWRI index"),
    ]
}

const WHOLE: [&str; 5] = [
    "activation/activation_0.pt",
    "activation/activation_1.pt",
    "model.powerinfer.gguf",
    "model.powerinfer.gguf.generated.gpuidx",
    "policy.yaml",
];

#[test]
fn statistics_and_index_come_with_the_model_and_one_progress() {
    let model = model_bytes(300_000, 1);
    let files = whole_repository(&model);
    let total: u64 = files[1..].iter().map(|file| file.bytes.len() as u64).sum();
    let server = Server::hub(files);
    let fixture = Fixture::new(&server);
    let mut told = Vec::new();
    let stored =
        fixture.hub.pull(&SOURCE.parse().unwrap(), &PullOptions::default(), &mut |event| {
            if let PullEvent::Progress { done, total } = event {
                told.push((*done, *total));
            }
            ControlFlow::Continue(())
        });
    let stored = stored.unwrap();
    assert_eq!(fixture.files("r"), WHOLE);
    assert!(told.is_sorted() && told.iter().all(|row| row.1 == Some(total)), "{told:?}");
    assert_eq!(told.last().unwrap().0, total);
    assert_eq!(stored.problem, None);
    assert!(stored.bytes > total, "the policy is counted");
}

#[test]
fn the_policy_names_the_file_and_its_checksum() {
    let model = model_bytes(5_000, 2);
    let server = Server::hub(one_model(&model));
    let fixture = Fixture::new(&server);
    let stored = fixture.pull(SOURCE).unwrap();
    let policy = Policy::from_file(&stored.policy).unwrap();
    assert_eq!(policy.model_path, "model.powerinfer.gguf");
    assert_eq!(policy.resolved_model_path().unwrap(), fixture.model("r"));
    assert_eq!(policy.audit.source_repo.as_deref(), Some(SOURCE));
    assert_eq!(policy.audit.checksum, Some(format!("sha256:{}", digits(&model))));
    let outcome = policy.verify_checksum(CacheMode::Force, &mut |_, _| {}).unwrap();
    assert_eq!(outcome, ChecksumOutcome::Verified { cached: false });
}

#[test]
fn a_known_model_is_pulled_by_name_alias_or_repository_and_has_its_own_policy() {
    let model = model_bytes(5_000, 3);
    let path = "bamboo-7b-dpo-v0.1.Q4_0.powerinfer.gguf";
    let server = Server::hub(vec![
        remote("bamboo-7b-dpo-v0.1.powerinfer.gguf", b"PWRI large"),
        remote(path, &model),
    ]);
    for source in ["bamboo-7b-dpo", "Bamboo-DPO", "hf://powerinfer/bamboo-dpo-v0.1-GGUF"] {
        let fixture = Fixture::new(&server);
        let stored = fixture.pull(source).unwrap();
        assert_eq!(stored.name, "bamboo-7b-dpo", "{source}");
        assert_eq!(std::fs::read(stored.model.unwrap()).unwrap(), model, "{source}");
        let policy = Policy::from_file(&stored.policy).unwrap();
        assert_eq!(policy.metadata.use_cases, ["dialogue", "instructions"], "{source}");
        let (first, end) = (&server.requests()[0].path, "/tree/main?recursive=true");
        assert_eq!(*first, format!("/api/models/PowerInfer/Bamboo-DPO-v0.1-gguf{end}"));
    }
}

#[test]
fn what_is_here_is_not_fetched_and_what_is_damaged_is() {
    let model = model_bytes(40_000, 4);
    let server = Server::hub(whole_repository(&model));
    let fixture = Fixture::new(&server);
    fixture.pull(SOURCE).unwrap();
    let n = server.requests().len();
    assert_eq!(fixture.events(SOURCE), ["present"]);
    assert_eq!(fixture.events("r"), ["present"], "by the name that it has here");
    assert_eq!(server.requests().len(), n);
    let mut damaged = model.clone();
    damaged[9] ^= 1;
    std::fs::write(fixture.model("r"), damaged).unwrap();
    fixture.pull(SOURCE).unwrap();
    assert_eq!(std::fs::read(fixture.model("r")).unwrap(), model);
    let paths: Vec<String> = server.requests()[n..].iter().map(|r| r.path.clone()).collect();
    assert_eq!(paths.len(), 2, "the list and the model, not the rest: {paths:?}");
}

#[test]
fn a_pull_that_broke_between_files_fetches_only_the_rest() {
    let model = model_bytes(40_000, 5);
    let (files, calls) = (whole_repository(&model), Calls::default());
    let server = Server::start(move |request| {
        if request.path.ends_with("gpuidx") && calls.next() == 0 {
            return Answer::new(404, "");
        }
        hub_answer(request, &files)
    });
    let fixture = Fixture::new(&server);
    assert!(matches!(fixture.pull(SOURCE), Err(HubError::NotFound { .. })));
    let stored = &fixture.hub.list().unwrap()[0];
    assert!(stored.problem.as_deref().unwrap().contains("not ended"), "{stored:?}");
    let error = fixture.hub.find_whole("r").unwrap_err();
    assert!(matches!(error, HubError::Incomplete { .. }), "{error}");
    fixture.pull(SOURCE).unwrap();
    assert_eq!(fixture.files("r"), WHOLE);
    let for_model =
        server.requests().iter().filter(|r| r.path.ends_with("/m.powerinfer.gguf")).count();
    assert_eq!(for_model, 1);
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let model = model_bytes(400_000, 6);
    let files = one_model(&model);
    let server =
        Server::start(move |request| hub_answer(request, &files).slowly(Duration::from_millis(5)));
    let fixture = Fixture::new(&server);
    std::thread::scope(|scope| {
        let pulls = [(); 3].map(|()| scope.spawn(|| fixture.pull(SOURCE)));
        for pull in pulls {
            assert_eq!(pull.join().unwrap().unwrap().problem, None);
        }
    });
    assert_eq!(server.file_requests().len(), 1);
    assert!(std::fs::read(fixture.model("r")).unwrap() == model);
}

#[test]
fn an_address_is_fetched_and_a_page_becomes_its_file() {
    let model = model_bytes(7_000, 7);
    let server = Server::hub(vec![remote("x.Q4.gguf", &model)]);
    let fixture = Fixture::new(&server);
    let stored =
        fixture.pull(&format!("{}/o/r/blob/main/x.Q4.gguf?key=secret", server.url)).unwrap_err();
    assert!(matches!(stored, HubError::NotFound { .. }), "the query is part of the path here");
    let stored = fixture.pull(&format!("{}/o/r/blob/main/x.Q4.gguf", server.url)).unwrap();
    assert_eq!(stored.name, "x.q4");
    assert_eq!(fixture.files("x.q4"), ["model.gguf", "policy.yaml"]);
    assert_eq!(stored.source, Some(format!("{}/o/r/resolve/main/x.Q4.gguf", server.url)));
    assert_eq!(stored.checksum, Some(format!("sha256:{}", digits(&model))));
}

#[test]
fn a_key_in_an_address_is_not_written_down() {
    let model = model_bytes(7_000, 7);
    let sent = model.clone();
    let server = Server::start(move |request| Answer::file(request, &sent, "\"t\""));
    let fixture = Fixture::new(&server);
    let stored = fixture.pull(&format!("{}/x.gguf?key=secret", server.url)).unwrap();
    assert_eq!(server.requests()[0].path, "/x.gguf?key=secret");
    assert_eq!(stored.source, Some(format!("{}/x.gguf", server.url)));
    assert!(!std::fs::read_to_string(stored.policy).unwrap().contains("secret"));
}

#[test]
fn only_the_hub_gets_the_token() {
    let model = model_bytes(9_000, 8);
    let files = one_model(&model);
    let sent = model.clone();
    let cdn = Server::start(move |request| Answer::file(request, &sent, "\"cdn\""));
    let (to, dice) = (cdn.url.clone(), Calls::default());
    let server = Server::start(move |request| {
        if !request.is_for_file() {
            return hub_answer(request, &files);
        }
        // The digest stands beside the redirect, as at Hugging Face; the first one stays here.
        let there = if dice.next() == 0 { "/again".to_owned() } else { format!("{to}/file?sig=1") };
        let digits = files[0].sha256.clone().unwrap();
        Answer::new(302, "").header("location", there).header("x-linked-etag", digits)
    });
    let fixture = Fixture::with(|options| options.endpoint(&server.url).token("hf_secret"));
    fixture.pull(SOURCE).unwrap();
    assert_eq!(std::fs::read(fixture.model("r")).unwrap(), model);
    let hub = server.requests();
    assert_eq!(hub.len(), 3, "the list, the file, and the redirect to the hub itself");
    assert!(hub.iter().all(|r| r.header("authorization") == Some("Bearer hf_secret")), "{hub:?}");
    assert_eq!(cdn.requests().len(), 1);
    assert_eq!(cdn.requests()[0].header("authorization"), None);
    let elsewhere = Fixture::with(|options| options.token("hf_secret"));
    elsewhere.pull(&format!("{}/x.gguf", cdn.url)).unwrap();
    assert_eq!(cdn.requests()[1].header("authorization"), None, "an address is not the hub");
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    let model = model_bytes(9_000, 9);
    let (files, calls) = (one_model(&model), Calls::default());
    let server = Server::start(move |request| match calls.next() {
        0 => Answer::new(503, "soon"),
        1 => Answer::new(429, "slower").header("retry-after", "0"),
        3 => Answer::new(500, ""),
        _ => hub_answer(request, &files),
    });
    let fixture = Fixture::new(&server);
    let events = fixture.events(SOURCE);
    assert_eq!(events, ["retrying", "retrying", "downloading", "file", "retrying"]);
    assert_eq!(std::fs::read(fixture.model("r")).unwrap(), model);
}

#[test]
fn a_digest_makes_up_for_a_size_that_is_not_told() {
    let model = model_bytes(90_000, 10);
    let sent = model.clone();
    let server = Server::start(move |_| Answer::new(200, sent.clone()).without_length());
    let (source, fixture) = (format!("{}/x.powerinfer.gguf", server.url), Fixture::new(&server));
    let error = fixture.pull(&source).unwrap_err();
    assert!(matches!(error, HubError::Unverifiable { .. }), "{error}");
    let digest = Checksum::parse(Some(&format!("sha256:{}", digits(&model)))).unwrap().unwrap();
    fixture.pull_with(&source, &PullOptions::default().checksum(digest)).unwrap();
    assert!(std::fs::read(fixture.model("x")).unwrap() == model);
}
