from ccmirror_py.cli.main import main

main()
