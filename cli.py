from adcc_onnx.cli import main

main()
