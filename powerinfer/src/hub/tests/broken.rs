//! Connections that break, hang, repeat themselves or forget what was asked.

use std::sync::Mutex;

use super::*;

#[test]
fn fifty_broken_connections_cost_no_byte_and_give_the_right_file() {
    for seed in 1..4 {
        let bytes = model_bytes(600_000, seed);
        let (files, dice, calls) = (one_model(&bytes), Mutex::new(Dice(seed)), Calls::default());
        let server = Server::start(move |request| {
            let answer = hub_answer(request, &files);
            if !request.is_for_file() || calls.next() >= 50 {
                return answer;
            }
            let n = dice.lock().unwrap().roll(11_000.min(answer.len()));
            answer.cut(n)
        });
        let fixture = Fixture::new(&server);
        fixture.pull(SOURCE).unwrap();
        assert!(std::fs::read(fixture.model("r")).unwrap() == bytes, "seed {seed}");
        let starts: Vec<usize> =
            server.file_requests().iter().map(|request| request.range().unwrap_or(0)).collect();
        assert_eq!(starts.len(), 51, "seed {seed}");
        assert!(starts.is_sorted(), "each goes on where the last one ended: {starts:?}");
        assert!(*starts.last().unwrap() > 100_000, "seed {seed}: {starts:?}");
    }
}

#[test]
fn a_connection_that_breaks_inside_of_the_first_bytes_is_tried_again() {
    let bytes = model_bytes(1000, 1);
    for cut in 0..6 {
        let (files, calls) = (one_model(&bytes), Calls::default());
        let server = Server::start(move |request| {
            let answer = hub_answer(request, &files);
            let breaks = request.is_for_file() && calls.next() == 0;
            if breaks { answer.cut(cut) } else { answer }
        });
        let fixture = Fixture::new(&server);
        fixture.pull(SOURCE).unwrap_or_else(|error| panic!("{cut}: {error}"));
        assert_eq!(std::fs::read(fixture.model("r")).unwrap(), bytes, "{cut}");
    }
}

#[test]
fn a_silent_connection_is_given_up_and_the_next_one_goes_on() {
    let bytes = model_bytes(50_000, 2);
    let (files, calls) = (one_model(&bytes), Calls::default());
    let server = Server::start(move |request| {
        let answer = hub_answer(request, &files);
        let hangs = request.is_for_file() && calls.next() == 0;
        if hangs { answer.cut(20_000).hangs() } else { answer }
    });
    let silence = Duration::from_millis(300);
    let patience = Patience { silence, ..PATIENCE };
    let fixture = Fixture::with(|options| options.endpoint(&server.url).patience(patience));
    fixture.pull(SOURCE).unwrap();
    assert_eq!(std::fs::read(fixture.model("r")).unwrap(), bytes);
    assert_eq!(server.file_requests()[1].range(), Some(20_000));
}

#[test]
fn a_server_without_ranges_sends_the_file_again() {
    let bytes = model_bytes(30_000, 3);
    let (files, calls) = (one_model(&bytes), Calls::default());
    let server = Server::start(move |request| {
        if !request.is_for_file() {
            return hub_answer(request, &files);
        }
        let answer = Answer::new(200, files[0].bytes.clone());
        if calls.next() == 0 { answer.cut(10_000) } else { answer }
    });
    let fixture = Fixture::new(&server);
    let events = fixture.events(SOURCE);
    assert_eq!(events, ["downloading", "file", "retrying", "restarted"]);
    assert_eq!(std::fs::read(fixture.model("r")).unwrap(), bytes);
}

#[test]
fn a_server_that_never_gets_farther_is_given_up() {
    let bytes = model_bytes(30_000, 4);
    let files = one_model(&bytes);
    let server = Server::start(move |request| {
        if !request.is_for_file() {
            return hub_answer(request, &files);
        }
        Answer::new(200, files[0].bytes.clone()).cut(10_000)
    });
    let fixture = Fixture::new(&server);
    let error = fixture.pull(SOURCE).unwrap_err();
    assert!(matches!(error, HubError::GaveUp { done: 10_000, .. }), "{error}");
    // The first try got farther than nothing, and so many after it did not.
    assert_eq!(server.file_requests().len(), 5);
    assert!(fixture.files("r").contains(&"model.powerinfer.gguf.part".to_owned()));
}

#[test]
fn a_file_that_changes_between_tries_is_fetched_anew() {
    let [old, new] = [model_bytes(30_000, 5), model_bytes(30_000, 6)];
    for ignores_if_range in [false, true] {
        let (bytes, calls) = ([old.clone(), new.clone()], Calls::default());
        let server = Server::start(move |request| {
            let call = calls.next();
            let (bytes, tag) = (&bytes[call.min(1)], ["\"old\"", "\"new\""][call.min(1)]);
            if ignores_if_range && request.range().is_some() {
                let mut again = request.clone();
                again.forget("if-range");
                return Answer::file(&again, bytes, tag);
            }
            let answer = Answer::file(request, bytes, tag);
            if call == 0 { answer.cut(10_000) } else { answer }
        });
        let fixture = Fixture::new(&server);
        let model = fixture.pull(&format!("{}/m.powerinfer.gguf", server.url)).unwrap();
        assert!(std::fs::read(model.model.unwrap()).unwrap() == new, "{ignores_if_range}");
        assert_eq!(server.requests()[1].header("if-range"), Some("\"old\""));
        assert_eq!(server.requests()[1].range(), Some(10_000));
    }
}

#[test]
fn a_part_is_gone_on_with_only_if_it_is_of_the_same_file() {
    let [old, new] = [model_bytes(30_000, 7), model_bytes(30_000, 8)];
    let broken = Server::start({
        let files = one_model(&old);
        move |request| {
            let answer = hub_answer(request, &files);
            if request.is_for_file() {
                answer.cut(if request.range().is_some() { 0 } else { 9_000 })
            } else {
                answer
            }
        }
    });
    for (bytes, wanted) in [(&old, Some(9_000)), (&new, None)] {
        let fixture = Fixture::new(&broken);
        assert!(matches!(fixture.pull(SOURCE), Err(HubError::GaveUp { done: 9_000, .. })));
        // A mirror is as good, if it has the same file.
        let mirror = Server::hub(one_model(bytes));
        let options = HubOptions::new(fixture.hub.folder()).endpoint(&mirror.url);
        let fixture = Fixture { hub: Hub::new(options), ..fixture };
        fixture.pull(SOURCE).unwrap();
        assert!(std::fs::read(fixture.model("r")).unwrap() == *bytes);
        assert_eq!(mirror.file_requests()[0].range(), wanted);
    }
}

#[test]
fn a_part_of_unknown_origin_is_not_believed() {
    let bytes = model_bytes(30_000, 9);
    let server = Server::hub(one_model(&bytes));
    for (part, record) in [
        (&b"PWRI rubbish"[..], None),
        (b"PWRI rubbish", Some("no json")),
        (b"PWRI rubbish", Some(r#"{"url":"x","size":1,"sha256":null,"validator":null}"#)),
    ] {
        let fixture = Fixture::new(&server);
        std::fs::create_dir_all(fixture.hub.folder().join("r")).unwrap();
        let path = fixture.model("r").with_extension("gguf.part");
        std::fs::write(&path, part).unwrap();
        if let Some(record) = record {
            std::fs::write(path.with_extension("part.json"), record).unwrap();
        }
        fixture.pull(SOURCE).unwrap();
        assert!(std::fs::read(fixture.model("r")).unwrap() == bytes, "{record:?}");
        assert_eq!(fixture.files("r"), ["model.powerinfer.gguf", "policy.yaml"]);
    }
}

#[test]
fn a_refused_range_starts_again() {
    let bytes = model_bytes(30_000, 10);
    let (files, calls) = (one_model(&bytes), Calls::default());
    let server = Server::start(move |request| {
        let answer = hub_answer(request, &files);
        match request.is_for_file().then(|| calls.next()) {
            Some(0) => answer.cut(10_000),
            Some(1) => Answer::new(416, ""),
            _ => answer,
        }
    });
    let fixture = Fixture::new(&server);
    fixture.pull(SOURCE).unwrap();
    assert_eq!(std::fs::read(fixture.model("r")).unwrap(), bytes);
    let ranges: Vec<_> = server.file_requests().iter().map(Request::range).collect();
    assert_eq!(ranges, [None, Some(10_000), None]);
}

#[test]
fn a_stopped_pull_goes_on_where_it_was() {
    let bytes = model_bytes(2_000_000, 11);
    let server = Server::hub(one_model(&bytes));
    let fixture = Fixture::new(&server);
    let mut stop = |event: &PullEvent<'_>| match event {
        PullEvent::Progress { done, .. } if *done > 300_000 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let result = fixture.hub.pull(&SOURCE.parse().unwrap(), &PullOptions::default(), &mut stop);
    assert!(matches!(result, Err(HubError::Cancelled)), "{result:?}");
    let there = fixture.model("r").with_extension("gguf.part").metadata().unwrap().len();
    assert!(there > 300_000, "{there}");
    fixture.pull(SOURCE).unwrap();
    assert!(std::fs::read(fixture.model("r")).unwrap() == bytes);
    assert_eq!(server.file_requests()[1].range(), Some(usize::try_from(there).unwrap()));
}
