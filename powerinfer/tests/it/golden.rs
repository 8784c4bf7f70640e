//! Known text of a known model, byte for byte.

use powerinfer::{KvType, Model, Strategy};

use crate::{data, support};

/// Forward passes that made the recorded text; the first one reads the begin-of-text token.
const STEPS: u32 = 200;

#[test]
fn stories260k_tells_the_recorded_story() {
    let Some(root) = data::root() else { return };
    let model = Model::load(root.join("models/stories260K.gguf")).unwrap();
    assert_eq!(model.info().strategy, Strategy::Dense, "a plain file without zeros");
    let recorded =
        std::fs::read_to_string(root.join("data/models/stories260K.golden.txt")).unwrap();
    for threads in [1, 3] {
        let options = powerinfer::SessionOptions::default().kv_type(KvType::F32).threads(threads);
        let mut session = model.session(options).unwrap();
        let story = session.generate("", support::greedy(STEPS)).unwrap().complete().unwrap();
        assert_eq!(story.text, recorded, "{threads} threads");
    }
}
