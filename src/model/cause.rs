//! Why a command was refused or ended: IEC 61850's additional causes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Label;

/// An additional cause of IEC 61850-7-2 (AddCause). A closed list: it is stored and compared by its spelling, so words
/// are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Cause {
    NotSupported,
    InvalidPosition,
    PositionReached,
    ParameterChangeInExecution,
    StepLimitation,
    BlockedByMode,
    BlockedByProcess,
    BlockedByInterlocking,
    CommandAlreadyInExecution,
    BlockedByHealth,
    AbortionByCancel,
    TimeLimitOver,
    AbortionByTrip,
    ObjectNotSelected,
    ObjectAlreadySelected,
    NoAccessAuthority,
    EndedWithOvershoot,
    AbortionByCommunicationLoss,
    InconsistentParameters,
}

/// A word that names no cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no cause; causes are {}", Cause::ALL.map(Cause::as_str).join(", "))]
pub struct UnknownCause {
    /// What was given.
    pub found: String,
}

impl Cause {
    /// Every cause, in the order of the standard.
    pub const ALL: [Cause; 19] = [
        Cause::NotSupported,
        Cause::InvalidPosition,
        Cause::PositionReached,
        Cause::ParameterChangeInExecution,
        Cause::StepLimitation,
        Cause::BlockedByMode,
        Cause::BlockedByProcess,
        Cause::BlockedByInterlocking,
        Cause::CommandAlreadyInExecution,
        Cause::BlockedByHealth,
        Cause::AbortionByCancel,
        Cause::TimeLimitOver,
        Cause::AbortionByTrip,
        Cause::ObjectNotSelected,
        Cause::ObjectAlreadySelected,
        Cause::NoAccessAuthority,
        Cause::EndedWithOvershoot,
        Cause::AbortionByCommunicationLoss,
        Cause::InconsistentParameters,
    ];

    /// The cause's spelling in profiles, the API and the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::NotSupported => "not-supported",
            Cause::InvalidPosition => "invalid-position",
            Cause::PositionReached => "position-reached",
            Cause::ParameterChangeInExecution => "parameter-change-in-execution",
            Cause::StepLimitation => "step-limitation",
            Cause::BlockedByMode => "blocked-by-mode",
            Cause::BlockedByProcess => "blocked-by-process",
            Cause::BlockedByInterlocking => "blocked-by-interlocking",
            Cause::CommandAlreadyInExecution => "command-already-in-execution",
            Cause::BlockedByHealth => "blocked-by-health",
            Cause::AbortionByCancel => "abortion-by-cancel",
            Cause::TimeLimitOver => "time-limit-over",
            Cause::AbortionByTrip => "abortion-by-trip",
            Cause::ObjectNotSelected => "object-not-selected",
            Cause::ObjectAlreadySelected => "object-already-selected",
            Cause::NoAccessAuthority => "no-access-authority",
            Cause::EndedWithOvershoot => "ended-with-overshoot",
            Cause::AbortionByCommunicationLoss => "abortion-by-communication-loss",
            Cause::InconsistentParameters => "inconsistent-parameters",
        }
    }

    /// What people read when nothing more is known.
    pub fn label(self) -> Label {
        let (zh, en) = match self {
            Cause::NotSupported => ("设备不支持该命令", "The device does not support the command"),
            Cause::InvalidPosition => ("目标值超出范围", "The target is out of limits"),
            Cause::PositionReached => ("已在目标位置", "The target is reached already"),
            Cause::ParameterChangeInExecution => {
                ("当前值已变化，请重新选择", "The present value has moved; select again")
            }
            Cause::StepLimitation => ("单步变化过大", "The step is too large"),
            Cause::BlockedByMode => ("控制方式不允许", "Blocked by the control mode"),
            Cause::BlockedByProcess => ("设备拒绝执行", "The device refused"),
            Cause::BlockedByInterlocking => ("联锁闭锁", "Blocked by an interlock"),
            Cause::CommandAlreadyInExecution => {
                ("设备正在执行命令", "A command is in execution already")
            }
            Cause::BlockedByHealth => ("测值不可信或已过期", "A value is stale or not good"),
            Cause::AbortionByCancel => ("已取消", "Cancelled"),
            Cause::TimeLimitOver => ("超时", "The time is over"),
            Cause::AbortionByTrip => ("设备故障跳闸", "The device tripped"),
            Cause::ObjectNotSelected => ("未选择或已失效", "Not selected, or no longer"),
            Cause::ObjectAlreadySelected => ("设备已被选择", "The device is selected already"),
            Cause::NoAccessAuthority => ("没有操作权限", "No authority for this"),
            Cause::EndedWithOvershoot => ("越过目标位置", "Went beyond the target"),
            Cause::AbortionByCommunicationLoss => ("通信中断", "The link was lost"),
            Cause::InconsistentParameters => ("参数不一致", "The parameters do not fit"),
        };
        Label::new(zh, en)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Cause {
    type Err = UnknownCause;

    fn from_str(text: &str) -> Result<Self, UnknownCause> {
        let known = Cause::ALL.into_iter().find(|cause| cause.as_str() == text);
        known.ok_or_else(|| UnknownCause { found: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_reads_back_as_it_is_written() {
        for cause in Cause::ALL {
            assert_eq!(cause.as_str().parse(), Ok(cause));
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.as_str());
        }
        let refused = "because".parse::<Cause>().unwrap_err().to_string();
        assert!(refused.contains("blocked-by-mode"), "{refused}");
    }
}
