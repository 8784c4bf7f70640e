//! The part of pickle that `torch.save` uses for one vector. An interpreter of an allow-list: it
//! builds [`Value`]s and has no way to execute anything.

use std::collections::HashMap;
use std::rc::Rc;

use super::error::PickleError;
use super::value::{Global, Tensor, Value};

/// Bytes of a pickle at most; that of a vector has some 300. Bounds everything built from it.
pub(super) const MAX_PICKLE: u64 = 1 << 16;

/// The protocol that `torch.save` uses unless told otherwise.
pub(super) const PROTOCOL: u8 = 2;

/// Characters of a refused name that are shown.
const SHOWN: usize = 100;

/// The tensor that a pickle describes.
pub(super) fn read(bytes: &[u8]) -> Result<Tensor, PickleError> {
    let mut machine =
        Machine { bytes, at: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    machine.protocol()?;
    while machine.step()? {}
    if machine.at < bytes.len() {
        return Err(PickleError::Trailing { at: machine.at });
    }
    match machine.pop("the tensor")? {
        Value::Tensor(tensor) => Ok((*tensor).clone()),
        other => Err(other.instead_of("a tensor")),
    }
}

struct Machine<'b> {
    bytes: &'b [u8],
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl<'b> Machine<'b> {
    fn protocol(&mut self) -> Result<(), PickleError> {
        match *self.take(2)? {
            [0x80, PROTOCOL] => Ok(()),
            [0x80, found] => Err(PickleError::Protocol { found: found.to_string() }),
            [first, _] => {
                Err(PickleError::Protocol { found: format!("instruction 0x{first:02x}") })
            }
            _ => unreachable!("two bytes were taken"),
        }
    }

    /// One instruction; whether there are more.
    fn step(&mut self) -> Result<bool, PickleError> {
        let at = self.at;
        match self.byte()? {
            b'.' => return Ok(false),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.stack.push(Value::None),
            0x88 | 0x89 => self.stack.push(Value::Bool),
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            b'J' => self.signed(4)?,
            0x8a => self.long(at)?,
            b'X' => self.text()?,
            b')' => self.tuple_of(0)?,
            0x85 => self.tuple_of(1)?,
            0x86 => self.tuple_of(2)?,
            0x87 => self.tuple_of(3)?,
            b't' => self.tuple_from_mark()?,
            b'c' => self.global(at)?,
            b'R' => self.reduce()?,
            b'Q' => {
                let storage = self.pop("a persistent id")?.storage()?;
                self.stack.push(storage);
            }
            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            b'h' => self.get(1)?,
            b'j' => self.get(4)?,
            opcode => return Err(PickleError::Opcode { opcode, at }),
        }
        Ok(true)
    }

    fn take(&mut self, n: usize) -> Result<&'b [u8], PickleError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..n).ok_or(PickleError::Truncated { at: self.bytes.len() })?;
        self.at += n;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.take(1)?[0])
    }

    fn pop(&mut self, wanted: &'static str) -> Result<Value, PickleError> {
        // What is below a mark belongs to somebody else.
        let floor = self.marks.last().copied().unwrap_or(0);
        let value = if self.stack.len() > floor { self.stack.pop() } else { None };
        value.ok_or(PickleError::Missing { wanted, at: self.at })
    }

    /// An unsigned number of `n` bytes, 4 at most.
    fn unsigned(&mut self, n: usize) -> Result<u32, PickleError> {
        let bytes = self.take(n)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }

    fn integer(&mut self, n: usize) -> Result<(), PickleError> {
        let number = self.unsigned(n)?;
        self.stack.push(Value::Int(number.into()));
        Ok(())
    }

    /// A number in two's complement of `n` bytes, 8 at most.
    fn signed(&mut self, n: usize) -> Result<(), PickleError> {
        let bytes = self.take(n)?;
        let is_negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut wide = if is_negative { [0xff; 8] } else { [0; 8] };
        wide[..n].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn long(&mut self, at: usize) -> Result<(), PickleError> {
        match usize::from(self.byte()?) {
            n @ 0..=8 => self.signed(n),
            found => Err(PickleError::LongNumber { found, at }),
        }
    }

    fn text(&mut self) -> Result<(), PickleError> {
        let n = self.unsigned(4)?;
        let at = self.at;
        let n = usize::try_from(n).map_err(|_| PickleError::Truncated { at })?;
        let text = std::str::from_utf8(self.take(n)?).map_err(|_| PickleError::Text { at })?;
        self.stack.push(Value::Text(Rc::from(text)));
        Ok(())
    }

    fn tuple_of(&mut self, n: usize) -> Result<(), PickleError> {
        let mut items = Vec::with_capacity(n);
        for _ in 0..n {
            items.push(self.pop("a value for a tuple")?);
        }
        items.reverse();
        self.stack.push(Value::tuple(items)?);
        Ok(())
    }

    fn tuple_from_mark(&mut self) -> Result<(), PickleError> {
        let mark = self.marks.pop();
        let mark = mark.ok_or(PickleError::Missing { wanted: "a mark", at: self.at })?;
        let items = self.stack.split_off(mark);
        self.stack.push(Value::tuple(items)?);
        Ok(())
    }

    fn line(&mut self) -> Result<&'b str, PickleError> {
        let at = self.at;
        let n = self.bytes[at..].iter().position(|&byte| byte == b'\n');
        let line = self.take(n.ok_or(PickleError::Truncated { at: self.bytes.len() })?)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|_| PickleError::Text { at })
    }

    fn global(&mut self, at: usize) -> Result<(), PickleError> {
        let (module, name) = (self.line()?, self.line()?);
        let Some(global) = Global::named(module, name) else {
            let name = format!("{module}.{name}");
            let name = name.escape_debug().take(SHOWN).collect();
            return Err(PickleError::Global { name, at });
        };
        self.stack.push(Value::Global(global));
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), PickleError> {
        let arguments = self.pop("the arguments of a function")?;
        let function = self.pop("a function")?;
        let Value::Tuple { items, .. } = &arguments else {
            return Err(arguments.instead_of("a tuple of arguments"));
        };
        let Value::Global(global) = function else { return Err(function.instead_of("a function")) };
        self.stack.push(global.reduce(items)?);
        Ok(())
    }

    fn put(&mut self, n: usize) -> Result<(), PickleError> {
        let index = self.unsigned(n)?;
        let value = self.pop("a value to remember")?;
        self.stack.push(value.clone());
        self.memo.insert(index, value);
        Ok(())
    }

    fn get(&mut self, n: usize) -> Result<(), PickleError> {
        let at = self.at;
        let index = self.unsigned(n)?;
        let value = self.memo.get(&index);
        let value = value.ok_or(PickleError::Missing { wanted: "a remembered value", at })?;
        self.stack.push(value.clone());
        Ok(())
    }
}
