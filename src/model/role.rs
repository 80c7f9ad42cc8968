//! What people may do: rights, and the roles that bundle them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Label;

/// One kind of thing that somebody may do. Every route of the API needs one of these; so does every step of a case and of
/// a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// See the map, assets, devices, series, alerts, and one's own account.
    View,
    /// Take note of an alert; open a case by hand.
    Acknowledge,
    /// Move things: select and confirm commands.
    Operate,
    /// Send a case to a unit or a person (the command centre).
    Dispatch,
    /// Accept, handle and report a case in the field (by phone).
    Handle,
    /// Check and close a case (the supervision centre).
    Verify,
    /// Shelve alerts, read the audit log and the reports.
    Supervise,
    /// Change profiles, devices, assets, zones and rules.
    Engineer,
    /// Change accounts.
    Administer,
}

/// What somebody is in the town. The rights of each stand in one table: [`Role::rights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Watches the map, acknowledges, moves gates.
    Operator,
    /// Sends cases to units: the command centre.
    Dispatcher,
    /// Does the work outside, with a phone.
    Handler,
    /// Verifies and closes: the supervision centre, which does not dispatch.
    Supervisor,
    /// Keeps profiles, devices and rules.
    Engineer,
    /// Keeps accounts, and may do everything.
    Admin,
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown role `{found}`; roles are viewer, operator, dispatcher, handler, supervisor, engineer, admin"
)]
pub struct UnknownRole {
    /// The text that was given.
    pub found: String,
}

/// A text that names no right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown right `{found}`; rights are view, acknowledge, operate, dispatch, handle, verify, supervise, engineer, administer"
)]
pub struct UnknownRight {
    /// The text that was given.
    pub found: String,
}

impl Role {
    /// Every role, in the order in which people read them.
    pub const ALL: [Role; 7] = [
        Role::Viewer,
        Role::Operator,
        Role::Dispatcher,
        Role::Handler,
        Role::Supervisor,
        Role::Engineer,
        Role::Admin,
    ];

    /// The table of rights: what each role may do. Dispatching and closing stand in no row together but the
    /// administrator's, who keeps a small town alone.
    pub const fn rights(self) -> &'static [Right] {
        use Right::*;
        match self {
            Role::Viewer => &[View],
            Role::Operator => &[View, Acknowledge, Operate],
            Role::Dispatcher => &[View, Acknowledge, Dispatch],
            Role::Handler => &[View, Handle],
            Role::Supervisor => &[View, Acknowledge, Operate, Verify, Supervise],
            Role::Engineer => &[View, Acknowledge, Operate, Engineer],
            Role::Admin => &Right::ALL,
        }
    }

    /// Whether this role has this right.
    pub fn may(self, right: Right) -> bool {
        self.rights().contains(&right)
    }

    /// The role's spelling in files and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Dispatcher => "dispatcher",
            Role::Handler => "handler",
            Role::Supervisor => "supervisor",
            Role::Engineer => "engineer",
            Role::Admin => "admin",
        }
    }

    /// What people read.
    pub fn label(self) -> Label {
        match self {
            Role::Viewer => Label::new("查看员", "viewer"),
            Role::Operator => Label::new("值班员", "operator"),
            Role::Dispatcher => Label::new("派遣员", "dispatcher"),
            Role::Handler => Label::new("处置员", "handler"),
            Role::Supervisor => Label::new("监督员", "supervisor"),
            Role::Engineer => Label::new("工程师", "engineer"),
            Role::Admin => Label::new("管理员", "administrator"),
        }
    }
}

impl Right {
    /// Every right.
    pub const ALL: [Right; 9] = [
        Right::View,
        Right::Acknowledge,
        Right::Operate,
        Right::Dispatch,
        Right::Handle,
        Right::Verify,
        Right::Supervise,
        Right::Engineer,
        Right::Administer,
    ];

    /// The right's spelling in files and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Right::View => "view",
            Right::Acknowledge => "acknowledge",
            Right::Operate => "operate",
            Right::Dispatch => "dispatch",
            Right::Handle => "handle",
            Right::Verify => "verify",
            Right::Supervise => "supervise",
            Right::Engineer => "engineer",
            Right::Administer => "administer",
        }
    }

    /// What people read.
    pub fn label(self) -> Label {
        match self {
            Right::View => Label::new("查看", "view"),
            Right::Acknowledge => Label::new("确认告警", "acknowledge alerts"),
            Right::Operate => Label::new("操作设备", "operate devices"),
            Right::Dispatch => Label::new("派遣", "dispatch cases"),
            Right::Handle => Label::new("处置", "handle cases"),
            Right::Verify => Label::new("核查结案", "verify and close cases"),
            Right::Supervise => Label::new("监督", "supervise"),
            Right::Engineer => Label::new("工程配置", "change devices, profiles and rules"),
            Right::Administer => Label::new("账户管理", "change accounts"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| UnknownRole { found: text.to_owned() })
    }
}

impl FromStr for Right {
    type Err = UnknownRight;

    fn from_str(text: &str) -> Result<Self, UnknownRight> {
        Right::ALL
            .into_iter()
            .find(|right| right.as_str() == text)
            .ok_or_else(|| UnknownRight { found: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_as_it_was_written_and_another_is_refused_with_all() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            let wire = serde_json::to_value(role).unwrap();
            assert_eq!(wire, role.as_str());
        }
        for right in Right::ALL {
            assert_eq!(right.to_string().parse(), Ok(right));
            assert_eq!(serde_json::to_value(right).unwrap(), right.as_str());
        }
        let refused = "boss".parse::<Role>().unwrap_err().to_string();
        assert!(Role::ALL.iter().all(|role| refused.contains(role.as_str())), "{refused}");
        let refused = "fly".parse::<Right>().unwrap_err().to_string();
        assert!(Right::ALL.iter().all(|right| refused.contains(right.as_str())), "{refused}");
    }

    #[test]
    fn everybody_may_look_and_every_right_has_a_role_beside_the_administrator() {
        assert!(Role::ALL.into_iter().all(|role| role.may(Right::View)));
        for right in Right::ALL.into_iter().filter(|&right| right != Right::Administer) {
            let held = Role::ALL.into_iter().any(|role| role != Role::Admin && role.may(right));
            assert!(held, "{right}");
        }
    }

    #[test]
    fn who_dispatches_does_not_close_and_who_handles_does_not_verify() {
        let apart = [(Right::Dispatch, Right::Verify), (Right::Handle, Right::Verify)];
        for role in Role::ALL.into_iter().filter(|&role| role != Role::Admin) {
            for (one, other) in apart {
                assert!(!(role.may(one) && role.may(other)), "{role}: {one} and {other}");
            }
        }
    }
}
