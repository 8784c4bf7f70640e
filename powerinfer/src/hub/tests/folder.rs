//! The folder of models: what is in it, and what goes out again.

use super::*;
use crate::hub::lock::Lock;

#[test]
fn models_are_listed_found_and_removed() {
    let model = model_bytes(20_000, 1);
    let server = Server::hub(one_model(&model));
    let fixture = Fixture::new(&server);
    assert!(fixture.hub.list().unwrap().is_empty(), "no folder is no model");
    fixture.pull(SOURCE).unwrap();
    fixture.pull_with(SOURCE, &PullOptions::default().name("bamboo-7b-dpo")).unwrap();
    let names: Vec<String> = fixture.hub.list().unwrap().into_iter().map(|m| m.name).collect();
    assert_eq!(names, ["bamboo-7b-dpo", "r"]);
    assert_eq!(fixture.hub.find("Bamboo-DPO").unwrap().name, "bamboo-7b-dpo");
    let error = fixture.hub.find("bamboo-7b-dpa").unwrap_err().to_string();
    assert!(error.contains("did you mean `bamboo-7b-dpo`?"), "{error}");
    assert!(fixture.hub.remove("r").unwrap().bytes > 20_000);
    assert!(matches!(fixture.hub.remove("r"), Err(HubError::NotPulled { .. })));
    assert_eq!(fixture.files("r"), [""; 0]);
    assert_eq!(fixture.hub.list().unwrap().len(), 1);
}

#[test]
fn a_name_has_one_model() {
    let bytes = model_bytes(20_000, 1);
    let server = Server::hub(vec![remote("a.gguf", &bytes), remote("b.gguf", &bytes)]);
    let fixture = Fixture::new(&server);
    let options = PullOptions::default().name("mine");
    fixture.pull_with("hf://o/r/a.gguf", &options).unwrap();
    let error = fixture.pull_with("hf://o/r/b.gguf", &options).unwrap_err();
    assert!(matches!(error, HubError::NameTaken { .. }), "{error}");
    assert!(error.to_string().contains("hf://o/r/a.gguf"), "{error}");
    assert_eq!(fixture.events("mine"), ["present"]);
}

#[test]
fn a_model_in_work_is_not_removed() {
    let server = Server::hub(one_model(&model_bytes(20_000, 1)));
    let fixture = Fixture::new(&server);
    fixture.pull(SOURCE).unwrap();
    let lock = Lock::try_take(fixture.hub.folder(), "r").unwrap().unwrap();
    assert!(matches!(fixture.hub.remove("r"), Err(HubError::Busy { .. })));
    drop(lock);
    fixture.hub.remove("r").unwrap();
}

#[test]
fn a_waiting_pull_tells_so_and_can_be_stopped() {
    let server = Server::hub(one_model(&model_bytes(20_000, 1)));
    let fixture = Fixture::new(&server);
    let _lock = Lock::try_take(fixture.hub.folder(), "r").unwrap().unwrap();
    let mut events = Vec::new();
    let result =
        fixture.hub.pull(&SOURCE.parse().unwrap(), &PullOptions::default(), &mut |event| {
            events.push(format!("{event:?}"));
            if events.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
    assert!(matches!(result, Err(HubError::Cancelled)), "{result:?}");
    assert!(events[0].starts_with("Waiting"), "{events:?}");
    assert!(server.requests().is_empty());
}

#[test]
fn what_is_wrong_with_a_model_is_said_and_hides_no_other() {
    let server = Server::hub(one_model(&model_bytes(20_000, 1)));
    let fixture = Fixture::new(&server);
    for name in ["broken", "gone", "good"] {
        fixture.pull_with(SOURCE, &PullOptions::default().name(name)).unwrap();
    }
    std::fs::write(fixture.hub.folder().join("broken/policy.yaml"), "model_pth: x").unwrap();
    std::fs::remove_file(fixture.model("gone")).unwrap();
    std::fs::create_dir(fixture.hub.folder().join("begun")).unwrap();
    let models = fixture.hub.list().unwrap();
    let problem = |name: &str| {
        let model = models.iter().find(|model| model.name == name).unwrap();
        model.problem.clone().unwrap_or_default()
    };
    assert!(problem("broken").contains("model_pth"), "{}", problem("broken"));
    assert!(problem("gone").contains("missing"), "{}", problem("gone"));
    assert!(problem("begun").contains("not ended"), "{}", problem("begun"));
    assert_eq!(problem("good"), "");
}
