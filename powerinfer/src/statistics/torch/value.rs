//! What the pickle of a vector can build, and which calls it may describe.

use std::rc::Rc;

use super::element::Element;
use super::error::PickleError;

/// Tuples inside of tuples; a vector needs two levels.
const MAX_DEPTH: u32 = 8;

/// A vector in the bytes of a storage. Numbers of elements, not of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) storage: Rc<Storage>,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) stride: u64,
}

/// A part of the archive with elements of one type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) key: Rc<str>,
    pub(super) element: Element,
    pub(super) elements: u64,
}

/// A function or class that may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    RebuildTensor,
    RebuildParameter,
    OrderedDict,
    Storage(Element),
}

/// Anything on the stack. Cheap to copy, so that a memo cannot multiply it.
#[derive(Debug, Clone)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Text(Rc<str>),
    Tuple { items: Rc<[Value]>, depth: u32 },
    Global(Global),
    Storage(Rc<Storage>),
    Tensor(Rc<Tensor>),
    EmptyDict,
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch", class) => Element::of_storage(class).map(Self::Storage),
            _ => None,
        }
    }

    /// What a call of it would return; nothing is called.
    pub(super) fn reduce(self, arguments: &[Value]) -> Result<Value, PickleError> {
        match (self, arguments) {
            (Self::OrderedDict, []) => Ok(Value::EmptyDict),
            (
                Self::RebuildParameter,
                [tensor @ Value::Tensor(_), Value::Bool, Value::EmptyDict | Value::None],
            ) => Ok(tensor.clone()),
            (
                Self::RebuildTensor,
                [
                    Value::Storage(storage),
                    Value::Int(offset),
                    size,
                    stride,
                    Value::Bool,
                    Value::EmptyDict | Value::None,
                ],
            ) => {
                let storage = Rc::clone(storage);
                let offset = natural("the offset of a vector", *offset)?;
                let size = size.one_dimension("the size of a vector")?;
                let stride = stride.one_dimension("the stride of a vector")?;
                Ok(Value::Tensor(Rc::new(Tensor { storage, offset, size, stride })))
            }
            _ => Err(PickleError::Call { function: self.name() }),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::RebuildTensor => "torch._utils._rebuild_tensor_v2",
            Self::RebuildParameter => "torch._utils._rebuild_parameter",
            Self::OrderedDict => "collections.OrderedDict",
            Self::Storage(_) => "the class of a storage",
        }
    }
}

impl Value {
    pub(super) fn tuple(items: Vec<Self>) -> Result<Self, PickleError> {
        let depth = |item: &Self| match item {
            Self::Tuple { depth, .. } => *depth,
            _ => 0,
        };
        let depth = 1 + items.iter().map(depth).max().unwrap_or(0);
        if depth > MAX_DEPTH {
            return Err(PickleError::TooDeep { limit: MAX_DEPTH });
        }
        Ok(Self::Tuple { items: items.into(), depth })
    }

    /// The storage that a persistent id names: `("storage", class, key, device, elements)`.
    pub(super) fn storage(&self) -> Result<Self, PickleError> {
        let Self::Tuple { items, .. } = self else {
            return Err(self.instead_of("a tuple that names a storage"));
        };
        let [
            Self::Text(kind),
            Self::Global(Global::Storage(element)),
            Self::Text(key),
            Self::Text(_),
            Self::Int(elements),
        ] = &items[..]
        else {
            return Err(self.instead_of("(\"storage\", class, key, device, number of elements)"));
        };
        if &**kind != "storage" {
            return Err(self.instead_of("the word \"storage\" first"));
        }
        let (key, element) = (Rc::clone(key), *element);
        let elements = natural("the number of elements", *elements)?;
        Ok(Self::Storage(Rc::new(Storage { key, element, elements })))
    }

    /// The number in a tuple of one: tensors of other dimensions are no vectors.
    fn one_dimension(&self, what: &'static str) -> Result<u64, PickleError> {
        let Self::Tuple { items, .. } = self else { return Err(self.instead_of(what)) };
        match &items[..] {
            [Self::Int(n)] => natural(what, *n),
            dimensions => Err(PickleError::Dimensions { found: dimensions.len() }),
        }
    }

    pub(super) fn instead_of(&self, wanted: &'static str) -> PickleError {
        let found = match self {
            Self::None => "None",
            Self::Bool => "a truth value",
            Self::Int(_) => "a number",
            Self::Text(_) => "a text",
            Self::Tuple { .. } => "a tuple",
            Self::Global(_) => "a function or class",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::EmptyDict => "a dictionary",
        };
        PickleError::Wanted { wanted, found }
    }
}

fn natural(what: &'static str, n: i64) -> Result<u64, PickleError> {
    u64::try_from(n).map_err(|_| PickleError::Negative { what, found: n })
}
