//! Which RSA public keys are too weak to trust.

/// The shortest modulus that is trusted, in bits (RFC 7518 section 3.3).
const BITS_MIN: usize = 2048;

/// The longest modulus that is trusted, in bits; a longer one only costs time.
const BITS_MAX: usize = 8192;

/// The odd primes by which keys of the ROCA kind give themselves away.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Says why an RSA public key is not usable; `None` when it is. Both numbers are big-endian.
pub(crate) fn fault(modulus: &[u8], exponent: &[u8]) -> Option<&'static str> {
    let modulus = without_leading_zeros(modulus);
    let exponent = without_leading_zeros(exponent);
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    match () {
        () if bits < BITS_MIN => Some("its RSA modulus is shorter than 2048 bits"),
        () if bits > BITS_MAX => Some("its RSA modulus is longer than 8192 bits"),
        () if !is_odd(modulus) => Some("its RSA modulus is even"),
        () if !is_odd(exponent) || exponent == [1] || exponent.len() > 4 => {
            Some("its RSA exponent is not an odd number of 3 to 32 bits")
        }
        () if is_roca(modulus) => Some("its RSA modulus has the ROCA weakness (CVE-2017-15361)"),
        () => None,
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// A weak generator made its primes as powers of 65537 modulo small primes, so the modulus is such a power as well.
/// The chance that a sound key looks like that is below one in a hundred million.
fn is_roca(modulus: &[u8]) -> bool {
    ROCA_PRIMES.into_iter().all(|prime| {
        let rest = modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * (65537 % prime) % prime));
        powers.take(prime as usize).any(|power| power == rest)
    })
}
