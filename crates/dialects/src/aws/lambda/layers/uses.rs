//! The layers of a function: which are meant, whether it may have them, and whether they fit.

use super::{
    super::{Op, account},
    foreign,
    named::{self, LayerArn},
};
use crate::aws::{
    check::Checks,
    fault::WireError,
    limits,
    rows::{Config, Layer},
    shared::Shared,
};
use model::{Package, TenantId};

pub const ARN_PATTERN: &str = r"arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+";

fn whole(text: &str) -> Option<(LayerArn<'_>, u64)> {
    let arn = named::parse(text)?;
    let number = arn.version?;
    Some((arn, number))
}

/// Whether all are ARNs of layer versions.
pub fn check(wanted: &[String], checks: &mut Checks) {
    if wanted.iter().any(|w| whole(w).is_none()) {
        let rule = format!(
            "Member must satisfy constraint: [Member must have length less than or equal to 140, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: {ARN_PATTERN}, Member must not be null]"
        );
        checks.fail(format_args!("[{}]", wanted.join(", ")), "layers", rule);
    }
}

/// The layers that these ARNs name, in their order.
pub async fn of_function(op: &Op, wanted: &[String]) -> Result<Vec<Layer>, WireError> {
    if wanted.len() > limits::LAYERS_PER_FUNCTION_MAX {
        return Err(WireError::invalid(format!("Cannot reference more than {} layers.", limits::LAYERS_PER_FUNCTION_MAX)));
    }
    let mut layers: Vec<Layer> = Vec::with_capacity(wanted.len());
    for text in wanted {
        let package = match meant(op, text)? {
            Meant::Own(package) => package,
            Meant::Shared(owner, package) => {
                let Package::Unpacked { bytes, .. } = &package;
                account::room(&op.asked.shared, &op.asked.tenant, *bytes, 0)?;
                // The function keeps it, whatever its owner does to it afterwards.
                op.asked.platform().packages().adopt(&owner, &package, &op.asked.tenant).await?
            }
        };
        let layer = |arn: &str| arn.rsplit_once(':').map(|(layer, _)| layer.to_owned());
        if let Some(other) = layers.iter().find(|l| layer(&l.arn) == layer(text)) {
            return Err(WireError::invalid(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. {} and {text} are versions of the same layer.",
                other.arn
            )));
        }
        layers.push(Layer { arn: text.clone(), package });
    }
    Ok(layers)
}

/// They still are what they were when the function's code was being unpacked. Asked while nothing can change: a version that was
/// deleted meanwhile leaves content that nobody holds.
pub fn still(op: &Op, config: &Config) -> Result<(), WireError> {
    for layer in &config.layers {
        let (Meant::Own(package) | Meant::Shared(_, package)) = meant(op, &layer.arn)?;
        if package.digest() != layer.package.digest() {
            return Err(WireError::conflict(format!("Layer version {} was changed meanwhile.", layer.arn)));
        }
    }
    Ok(())
}

/// What an ARN of a layer version means to an account.
enum Meant {
    /// It lies with the account's own packages.
    Own(Package),
    /// Another account here has it, and lets this one use it.
    Shared(TenantId, Package),
}

fn meant(op: &Op, text: &str) -> Result<Meant, WireError> {
    // Checked before: all are whole.
    let Some((arn, number)) = whole(text) else { return Err(WireError::invalid(format!("{text} is no layer version"))) };
    let (tenant, region) = (&op.asked.tenant, op.asked.region());
    if arn.account == tenant.as_str() && arn.region == region {
        let found = op.stored(arn.name, number)?;
        let found = found.ok_or_else(|| WireError::invalid(format!("Layer version {text} does not exist.")))?;
        return Ok(Meant::Own(found.version.package));
    }
    if let Some(row) = foreign::row(&op.asked.shared, tenant, text)? {
        return Ok(Meant::Own(row.package));
    }
    if let Some((owner, version)) = op.shared_version(&arn, text)? {
        return Ok(Meant::Shared(owner, version.package));
    }
    let whose = if arn.account == tenant.as_str() {
        format!("Layers are not in the same region as the function. Layers are expected to be in region {region}.")
    } else {
        // One that isn't shared and one that isn't there look the same.
        format!("Layer version {text} belongs to another account, which doesn't share it or which this platform doesn't reach.")
    };
    Err(WireError::invalid(format!("{whose} To say what stands for it here: {}", foreign::command(text))))
}

/// Code and layers together are held to what code alone may have.
pub fn fits(shared: &Shared, tenant: &TenantId, config: &Config) -> Result<(), WireError> {
    if config.layers.is_empty() {
        // Looked at when it was unpacked.
        return Ok(());
    }
    let packages = shared.platform.packages();
    let all = std::iter::once(&config.package).chain(config.layers.iter().map(|l| &l.package));
    let mut bytes = 0u64;
    for package in all {
        let missing = || WireError::internal(format!("package {} is not there", package.code()));
        bytes += packages.unpacked_bytes(tenant, package.digest()).ok_or_else(missing)?;
    }
    if bytes > limits::UNZIPPED_BYTES_MAX {
        return Err(WireError::invalid(format!(
            "Function code combined with layers exceeds the maximum allowed size of {} bytes. The actual size is {bytes} bytes.",
            limits::UNZIPPED_BYTES_MAX
        )));
    }
    Ok(())
}
