//! `jiff::Timestamp` as Postgres' `timestamptz`; sqlx itself only knows chrono and time.

use jiff::Timestamp;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// `timestamptz` and `timestamptz[]` in every Postgres' catalogue.
const TIMESTAMPTZ: Oid = Oid(1184);
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);

/// Postgres counts microseconds since 2000-01-01.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// An instant to bind or to read, in whole microseconds: Postgres keeps no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SqlTime(pub Timestamp);

impl From<Timestamp> for SqlTime {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl From<SqlTime> for Timestamp {
    fn from(at: SqlTime) -> Self {
        at.0
    }
}

impl Type<Postgres> for SqlTime {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for SqlTime {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for SqlTime {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let since_epoch_us = self.0.as_microsecond() - POSTGRES_EPOCH_US;
        Encode::<Postgres>::encode(since_epoch_us, buffer)
    }

    fn size_hint(&self) -> usize {
        size_of::<i64>()
    }
}

impl<'r> Decode<'r, Postgres> for SqlTime {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let since_epoch_us: i64 = Decode::<Postgres>::decode(value)?;
                let us = since_epoch_us
                    .checked_add(POSTGRES_EPOCH_US)
                    .ok_or("instant out of range")?;
                Ok(Self(Timestamp::from_microsecond(us)?))
            }
            PgValueFormat::Text => Ok(Self(value.as_str()?.parse()?)),
        }
    }
}
