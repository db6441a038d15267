//! Shifts.

use mesh_contracts::courier::{Event, ShiftEnd};
use mesh_contracts::geo::Country;
use mesh_contracts::view::courier::{Courier, Status};

use super::Rejection;

/// What a courier's stream is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// user-master has opened an account for a courier.
    Register { country: Country },
    /// The courier takes offers.
    Start { speed_m_per_min: u32 },
    /// The courier takes no more offers; jobs in hand go on.
    End,
}

/// What happens. Asking for what is so already changes nothing.
pub fn decide(courier: Option<&Courier>, command: Command) -> Result<Vec<Event>, Rejection> {
    match (courier, command) {
        (None, Command::Register { country }) => Ok(vec![Event::Registered { country }]),
        (Some(_), Command::Register { .. }) => Ok(Vec::new()),
        (None, Command::Start { .. }) => Err(Rejection::NoSuchCourier),
        // People of other roles are erased, too.
        (None, Command::End) => Ok(Vec::new()),
        (Some(courier), Command::Start { speed_m_per_min }) => match courier.status {
            Status::On if courier.speed_m_per_min == speed_m_per_min => Ok(Vec::new()),
            Status::On | Status::Off => Ok(vec![Event::ShiftStarted { speed_m_per_min }]),
        },
        (Some(courier), Command::End) => match courier.status {
            Status::On => Ok(vec![Event::ShiftEnded {
                reason: ShiftEnd::Courier,
            }]),
            Status::Off => Ok(Vec::new()),
        },
    }
}
