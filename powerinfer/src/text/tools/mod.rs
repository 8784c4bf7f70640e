//! Tools: functions that a model may ask to be called.

mod call;
#[cfg(feature = "grammar")]
mod choice;
mod format;
mod parser;
mod request;

pub use call::ToolCall;
#[cfg(feature = "grammar")]
pub use choice::ToolChoice;
pub use format::ToolFormat;
pub use parser::{ToolCallParser, ToolStep};
pub use request::{ToolError, Tools};
