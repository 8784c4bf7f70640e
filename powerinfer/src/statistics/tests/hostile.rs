//! Files that no `torch` wrote are refused by name, whatever they try.

use std::io::Cursor;

use rand_core::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64;

use super::super::{PickleError, TorchError, read_torch_vector};
use super::torch_file::{Pickle, TorchFile};

fn read(bytes: Vec<u8>) -> Result<Vec<f64>, TorchError> {
    read_torch_vector(Cursor::new(bytes))
}

fn file() -> TorchFile {
    TorchFile::floats(&[5.0, 6.0, 7.0, 8.0])
}

/// Why a pickle inside of an otherwise sound archive is refused.
fn refusal(pickle: &[u8]) -> PickleError {
    match read(file().build_with(pickle)) {
        Err(TorchError::Pickle(error)) => error,
        other => panic!("{pickle:?}: {other:?}"),
    }
}

#[test]
fn other_globals_are_refused_by_name() {
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("subprocess", "Popen"),
        ("torch", "load"),
        ("torch", "ComplexFloatStorage"),
        ("torch._utils", "_rebuild_tensor_v3"),
        ("torch._utils", "_rebuild_sparse_tensor"),
        ("collections", "OrderedDict.__init__"),
        ("", ""),
    ] {
        let mut pickle = Pickle::default();
        pickle.global(module, name).text("touch /tmp/owned").raw(b"\x85R");
        let error = refusal(&pickle.end());
        let wanted = format!("{module}.{name}");
        assert!(matches!(&error, PickleError::Global { name, .. } if *name == wanted), "{error}");
        assert!(error.to_string().contains(&format!("`{wanted}`")), "{error}");
    }
    let long = "x\x1b[31m".repeat(1000);
    let error = refusal(&Pickle::default().global(&long, "y").end()).to_string();
    assert!(error.len() < 300 && !error.contains('\x1b'), "{error}");
}

#[test]
fn other_instructions_and_protocols_are_refused_by_name() {
    // REDUCE's relatives, containers, frames, extensions, and what never was one.
    for opcode in [
        b'b', b'i', b'o', 0x81, 0x92, b'}', b']', b'd', b's', b'u', b'a', b'e', 0x95, 0x94, 0x93,
        0x82, 0x83, 0x84, b'P', b'I', b'F', b'G', b'S', b'0', b'2', 0x80, 0xff,
    ] {
        let error = refusal(&[0x80, 2, b'N', opcode, b'.']);
        let is_named =
            matches!(error, PickleError::Opcode { opcode: found, at: 3 } if found == opcode);
        assert!(is_named, "{opcode:#x}: {error}");
    }
    for (pickle, wanted) in [
        (&b"\x80\x03N."[..], "found 3"),
        (b"\x80\x04\x95", "found 4"),
        (b"\x80\x00N.", "found 0"),
        (b"cos\nsystem\n", "found instruction 0x63"),
    ] {
        let error = refusal(pickle).to_string();
        assert!(error.contains("wanted protocol 2") && error.contains(wanted), "{error}");
    }
}

#[test]
fn calls_with_other_arguments_are_refused() {
    for (module, name, arguments) in [
        ("collections", "OrderedDict", &b"N\x85"[..]),
        ("torch._utils", "_rebuild_parameter", b"NNN\x87"),
        ("torch._utils", "_rebuild_tensor_v2", b")"),
        ("torch", "FloatStorage", b"K\x05\x85"),
    ] {
        let error = refusal(&Pickle::default().global(module, name).raw(arguments).raw(b"R").end());
        assert!(matches!(error, PickleError::Call { .. }), "{name}: {error}");
    }
    for (pickle, wanted) in [
        (&b"NN"[..], "a tuple of arguments, found None"),
        (b"N)R", "a function, found None"),
        (b"K\x01Q", "a tuple that names a storage, found a number"),
        (b")Q", "found a tuple"),
        (b"K\x07", "wanted a tensor, found a number"),
        (b"h\x09", "wanted a remembered value"),
        (b"t", "wanted a mark"),
        (b"N(R", "wanted the arguments of a function"),
        (b"\x87", "wanted a value for a tuple"),
        (b"q\x00", "wanted a value to remember"),
        (b"", "wanted the tensor"),
        (b"\x8a\x09123456789", "wanted a number of at most 8 bytes, found 9"),
        (b"X\x01\x00\x00\x00\xff", "wanted UTF-8"),
        (b"N.N", "wanted the end at byte 4"),
        (b"X\xff\xff\xff\xffabc", "cut short"),
        (b"cos", "cut short"),
    ] {
        let mut whole = Pickle::default();
        let is_call = pickle == b"NN";
        let error = refusal(&whole.raw(pickle).raw(if is_call { b"R" } else { b"" }).end());
        assert!(error.to_string().contains(wanted), "{pickle:?}: {error}");
    }
}

#[test]
fn negative_and_huge_sizes_are_refused() {
    for (elements, wanted) in [
        (1_u64 << 62, "at most 16777216 elements"),
        ((1 << 24) + 1, "at most 16777216 elements"),
        (u64::MAX, "wanted 0 or more, found -1"),
        (5, "wanted 20 bytes, found 16"),
    ] {
        let error = read(TorchFile { elements, size: 4, ..file() }.build()).unwrap_err();
        let text = crate::report::chain(&error);
        assert!(text.contains(wanted), "{elements}: {text}");
    }
}

#[test]
fn a_compressed_bomb_is_read_no_further_than_its_vector() {
    let bomb = TorchFile { bytes: vec![0; 1 << 26], is_compressed: true, ..file() }.build();
    assert!(bomb.len() < 1 << 20, "zeros compress well");
    let error = read(bomb).unwrap_err().to_string();
    assert!(error.contains("wanted 16 bytes, found 17"), "{error}");
}

#[test]
fn matrices_and_single_numbers_are_refused() {
    let pickle = file().pickle();
    let one = [b'K', 4, 0x85];
    let at = pickle.windows(3).position(|part| part == one).unwrap();
    for (dimensions, found) in [(&b")"[..], 0), (b"K\x02K\x02\x86", 2)] {
        let other = [&pickle[..at], dimensions, &pickle[at + 3..]].concat();
        let error = refusal(&other);
        assert!(matches!(error, PickleError::Dimensions { found: n } if n == found), "{error}");
    }
}

#[test]
fn deep_long_and_self_multiplying_pickles_end() {
    let deep = [&b"\x80\x02)"[..], &b"\x85".repeat(60_000), b"."].concat();
    assert!(matches!(refusal(&deep), PickleError::TooDeep { .. }));
    // Each tuple holds the one before twice.
    let mut bomb = Pickle::default();
    bomb.raw(b"N");
    (0..200_u8).for_each(|i| {
        bomb.raw(&[b'q', i, b'h', i, 0x86]);
    });
    assert!(matches!(refusal(&bomb.end()), PickleError::TooDeep { .. }));
    let long = [&b"\x80\x02"[..], &b"N".repeat(1 << 16), b"."].concat();
    let error = read(file().build_with(&long)).unwrap_err().to_string();
    assert!(error.contains("data.pkl`: wanted at most 65536 bytes"), "{error}");
}

#[test]
fn files_of_other_formats_are_refused_by_name() {
    let legacy = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e\x80\x02M\xe9\x03.";
    let error = read(legacy.to_vec()).unwrap_err().to_string();
    assert!(error.contains("0x1950a86a20f9469cfc6c") && error.contains("resave"), "{error}");
    for bytes in [&b""[..], b"GGUF\x03\x00\x00\x00", b"\x80\x04."] {
        let error = read(bytes.to_vec()).unwrap_err();
        assert!(matches!(error, TorchError::NotZip { .. }), "{error}");
    }
    let empty = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let error = read(empty.to_vec()).unwrap_err();
    assert!(matches!(error, TorchError::MissingEntry { .. }), "{error}");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for is_compressed in [false, true] {
        let whole = TorchFile { is_compressed, ..file() }.build();
        for n in 0..whole.len() {
            assert!(read(whole[..n].to_vec()).is_err(), "{n} of {} bytes", whole.len());
        }
    }
    let pickle = file().pickle();
    for n in 0..pickle.len() {
        refusal(&pickle[..n]);
    }
}

#[test]
fn changed_bytes_give_a_vector_or_an_error() {
    let mut random = Pcg64::seed_from_u64(20_240_607);
    let files = [file(), TorchFile { is_compressed: true, is_parameter: true, ..file() }];
    let (mut n_read, mut n_refused) = (0, 0);
    for file in files {
        let (archive, pickle) = (file.build(), file.pickle());
        for round in 0..5_000 {
            // In the archive most changes fail the checksum of an entry: the pickle alone, too.
            let mut bytes = if round % 2 == 0 { archive.clone() } else { pickle.clone() };
            for _ in 0..=random.next_u32() % 4 {
                let at = usize::try_from(random.next_u32()).unwrap() % bytes.len();
                bytes[at] = random.next_u32().to_le_bytes()[0];
            }
            let bytes = if round % 2 == 0 { bytes } else { file.build_with(&bytes) };
            match read(bytes) {
                Ok(vector) => {
                    assert!(!vector.is_empty() && vector.len() <= 4);
                    n_read += 1;
                }
                Err(_) => n_refused += 1,
            }
        }
    }
    assert!(n_read > 100 && n_refused > 100, "{n_read} read, {n_refused} refused");
}
