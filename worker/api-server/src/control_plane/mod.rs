//! A throw-away control plane: etcd and kube-apiserver on this machine, for as long as they are used.
//!
//! Three processes beside ours. A *supervisor* (this program again, see [`supervise`]) starts the other two and ends them
//! when the pipe from us is closed, which the kernel does when we are killed. Where the kernel can, it also kills them when
//! the supervisor is killed.
//!
//! *Invariant*: nothing is left behind: no process, and no folder but where we and the supervisor are killed in the same
//! moment; the next start removes that one.

mod find;
mod flags;
mod keys;
mod log_tail;
mod process;
mod scratch;
mod supervisor;

pub use find::{FindError, Programs, find};
pub use flags::FLAGS;
pub use process::{ControlPlane, Options, StartError};
pub use supervisor::supervise;
